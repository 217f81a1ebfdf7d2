"""HTTP/2 cases, one module per group of sections; importing `h2.every` registers them all."""

"""The servers under attack, each as a process group with a configuration of its own: `/` is answered by the server itself,
`/up` and `/big` (1 MiB) come from an origin."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

BIG = 1 << 20

NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log crit; worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
    access_log off; client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
    client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    proxy_http_version 1.1; proxy_set_header Connection "";
    upstream up {{ server 127.0.0.1:{origin}; keepalive 256; }}
    server {{
        listen 127.0.0.1:{plain} http2 backlog=4096; listen 127.0.0.1:{tls} ssl http2 backlog=4096;
        location / {{ return 200 "hello, this is a small answer\\n"; }}
        location /up {{ proxy_pass http://up; }}
        location /big {{ proxy_pass http://up; }}
    }}
}}
"""
ORIGIN = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log crit; worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 100000000;
    client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        location / {{ return 200 "from behind\\n"; }}
        location = /big {{ root {dir}; }}
    }}
}}
"""
HAPROXY = """
global
    nbthread {threads}
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
    http-reuse always
frontend fe
    bind 127.0.0.1:{plain} proto h2 backlog 4096
    bind 127.0.0.1:{tls} ssl crt {pem} alpn h2,http/1.1 backlog 4096
    http-request return status 200 content-type text/plain string "hello, this is a small answer" unless {{ path /up /big }}
    default_backend up
backend up
    server s1 127.0.0.1:{origin} pool-max-conn 256
"""
# The keys of the TLS listener follow docs/CONFIG.md.
EDGE = """
version = 1
[server]
shards = {threads}
admin = "unix:{dir}/admin.sock"
access_log = "off"
[[listener]]
name = "plain"
address = ["127.0.0.1:{plain}"]
protocols = ["h2"]
{edge_tls}
[pool.up]
endpoints = ["http://127.0.0.1:{origin}"]
[[route]]
id = "up"
match = {{ path = "/up" }}
pool = "up"
allow_http = true
[[route]]
id = "big"
match = {{ path = "/big" }}
pool = "up"
allow_http = true
[[route]]
id = "own"
respond = {{ body = "hello, this is a small answer" }}
allow_http = true
"""
EDGE_TLS = """
[[listener]]
name = "tls"
address = ["127.0.0.1:{tls}"]
protocols = ["h3", "h2", "h1"]
tls = {{ certificates = [{{ cert = "{cert}", key = "{key}" }}] }}
"""


class Victim:
    """A running server. `cpus` is a list for taskset, or None."""

    def __init__(self, name, origin=0, edge=None, cpus=None, threads=2):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix=f"attack-{name}-")
        self.plain, self.tls = free_port(), free_port()
        make_certificate(self.dir)
        values = dict(dir=self.dir, plain=self.plain, tls=self.tls, origin=origin, threads=threads,
                      cert=f"{self.dir}/cert.pem", key=f"{self.dir}/key.pem", pem=f"{self.dir}/both.pem")
        values["edge_tls"] = EDGE_TLS.format(**values)
        self.log = open(f"{self.dir}/log", "w+")
        self.process = subprocess.Popen(pinned(cpus, self._command(edge, values)), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        self._wait()

    def _command(self, edge, values):
        text = {"nginx": NGINX, "origin": ORIGIN, "haproxy": HAPROXY, "edge": EDGE}[self.name].format(**values)
        path = f"{self.dir}/config"
        with open(path, "w") as f:
            f.write(text)
        if self.name == "origin":
            with open(f"{self.dir}/big", "wb") as f:
                f.write(b"x" * BIG)
            os.chmod(self.dir, 0o755)
        if self.name == "edge":
            return [edge, "run", "--config", path]
        if self.name == "haproxy":
            return [find("haproxy"), "-db", "-f", path]
        return [find("nginx"), "-e", f"{self.dir}/error.log", "-c", path]

    def _wait(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.plain), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.log.seek(0)
        said = self.log.read()
        self.stop()
        raise SystemExit(f"{self.name} does not start:\n{said}")

    def alive(self):
        return self.process.poll() is None

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def pinned(cpus, command):
    """The command on these cores ("0,1"), where taskset is there."""
    return ["taskset", "-c", cpus, *command] if cpus and shutil.which("taskset") else command


def find(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise SystemExit(f"no {name}")
    return path


def installed(name):
    return bool(shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def make_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/key.pem",
                    "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    with open(f"{folder}/both.pem", "w") as out:
        for name in ("cert", "key"):
            with open(f"{folder}/{name}.pem") as f:
                out.write(f.read())

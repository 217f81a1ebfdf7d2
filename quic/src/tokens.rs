//! Which address-validation tokens were used already.

//! The limit on open files: raised once at start, read for checks and gauges.
use std::io;

/// The soft and the hard limit on open files of this process.
pub fn limits() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, writable `rlimit` for the length of the call; the kernel writes nothing else.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Raises the soft limit to the hard one and answers what they were before: `(soft before, hard)`.
///
/// A proxy needs two descriptors for each request in flight; the usual soft limit of 1,024 is gone at 500.
pub fn raise() -> io::Result<(u64, u64)> {
    let (soft, hard) = limits()?;
    if soft < hard {
        let wanted = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: `wanted` is a valid `rlimit` for the length of the call, which only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((soft, hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_raise_soft_is_hard() {
        let (_, hard) = raise().unwrap();
        assert_eq!(limits().unwrap(), (hard, hard));
        assert_eq!(raise().unwrap(), (hard, hard), "raising twice changes nothing");
    }
}

//! The client's side, for `edge reload` and `edge status`.
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{fmt, io, net::SocketAddr, path::PathBuf, str::FromStr};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where an admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for Addr {
    type Err = String;

    /// `127.0.0.1:9090`, `unix:/run/edge/admin.sock`, or an absolute path.
    fn from_str(text: &str) -> Result<Addr, String> {
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
            return match path.is_empty() {
                true => Err("the path is missing, as in unix:/run/edge/admin.sock".to_owned()),
                false => Ok(Addr::Unix(path.into())),
            };
        }
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        bare.parse().map(Addr::Tcp).map_err(|_| "expected IP:PORT as in 127.0.0.1:9090, or unix:/path".to_owned())
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp(addr) => write!(f, "{addr}"),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One request without a body; answers status and body.
pub async fn request(addr: &Addr, method: &str, path: &str) -> io::Result<(u16, String)> {
    match addr {
        Addr::Tcp(addr) => exchange(TcpStream::connect(addr).await?, method, path).await,
        Addr::Unix(socket) => exchange(UnixStream::connect(socket).await?, method, path).await,
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: &str,
    path: &str,
) -> io::Result<(u16, String)> {
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::builder().method(method).uri(path).header("host", "localhost").body(Empty::new());
    let talk = async {
        let response = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::pin!(talk, connection);
    tokio::select! {
        done = &mut talk => done,
        closed = &mut connection => {
            // The connection is done, but what it read may not have been looked at yet.
            closed.map_err(io::Error::other)?;
            talk.await
        }
    }
}

/// Sends bytes as they are and reads until the other side closes.
#[cfg(test)]
pub async fn raw(addr: &Addr, bytes: &[u8]) -> io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> io::Result<String> {
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
    match addr {
        Addr::Tcp(addr) => talk(TcpStream::connect(addr).await?, bytes).await,
        Addr::Unix(path) => talk(UnixStream::connect(path).await?, bytes).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_are_written() {
        for text in ["127.0.0.1:9090", "[::1]:9090", "unix:/run/edge/admin.sock", "unix:relative.sock"] {
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), text);
        }
        assert_eq!("/run/x".parse(), Ok(Addr::Unix("/run/x".into())));
        assert_eq!("http://127.0.0.1:1/".parse(), Ok(Addr::Tcp("127.0.0.1:1".parse().unwrap())));
        assert!("localhost".parse::<Addr>().is_err());
        assert!("unix:".parse::<Addr>().is_err());
    }
}

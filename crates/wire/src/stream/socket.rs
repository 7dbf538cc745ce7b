//! What the operating system gives, the transport below TLS: TCP or a Unix socket.
//!
//! A relay is woken by whichever of its sockets has something, and asks both. To ask tokio for bytes that are not there
//! costs most of what a read costs, because it notes down every time whom to wake. Here that is remembered: whoever
//! has been told to wait is told so again at a glance, until the socket is ready.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::thread::{self, ThreadId};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::coop::has_budget_remaining;

use super::unix::UnixSocket;

/// A socket.
#[derive(Debug)]
pub struct Socket {
    transport: Transport,
    /// The thread that watches it, if it is one.
    watched_by: Option<ThreadId>,
    /// Whom tokio wakes when there is something to read. It holds on to them until then, so that no other can have the
    /// same address meanwhile. Only where the thread that watches the socket is the one that asks: tokio notes first that
    /// there is something and then wakes who waits, and who asks in between on another thread may be woken for what
    /// it has read by then, and is waiting no more without having heard of it.
    waiting: Option<Address>,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Unix(UnixSocket),
}

/// What tells a waker from others, as in [`Waker::will_wake`]: its data and its functions.
type Address = (usize, usize);

fn address(waker: &Waker) -> Address {
    (waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
}

thread_local! {
    static THREAD: ThreadId = thread::current().id();
}

/// The calling thread. To ask the standard library each time would count references to it.
#[must_use]
pub fn this_thread() -> ThreadId {
    THREAD.with(|id| *id)
}

/// The thread that watches the sockets of this runtime: the calling one, unless there are several.
fn watcher() -> Option<ThreadId> {
    let runtime = Handle::try_current().ok()?;
    (runtime.runtime_flavor() == RuntimeFlavor::CurrentThread).then(this_thread)
}

/// The same for either transport.
macro_rules! either {
    ($socket:expr, $transport:ident => $does:expr) => {
        match $socket {
            Transport::Tcp($transport) => $does,
            Transport::Unix($transport) => $does,
        }
    };
}

impl Socket {
    pub(super) fn is_unix(&self) -> bool {
        matches!(self.transport, Transport::Unix(_))
    }

    /// None on a Unix socket, and none once a TCP peer has gone.
    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.transport {
            Transport::Tcp(tcp) => tcp.peer_addr().ok(),
            Transport::Unix(_) => None,
        }
    }

    /// Waits for the first byte, which stays unread. None at the end, and always on a Unix socket.
    pub(super) async fn peek(&self) -> io::Result<Option<u8>> {
        let Transport::Tcp(tcp) = &self.transport else { return Ok(None) };
        let mut first = [0];
        Ok((tcp.peek(&mut first).await? == 1).then_some(first[0]))
    }

    /// What waits for an acknowledgement, or for room, counts from when it was sent. Where nothing does, the peer is asked
    /// now and then. Only Linux has a limit for the first.
    /// <https://man7.org/linux/man-pages/man7/tcp.7.html> (`TCP_USER_TIMEOUT`)
    pub(super) fn give_up_after(&self, silence: Duration) -> io::Result<()> {
        let Transport::Tcp(tcp) = &self.transport else { return Ok(()) };
        let socket = SockRef::from(tcp);
        let pause = (silence / 4).max(Duration::from_secs(1));
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(pause).with_interval(pause).with_retries(3))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(silence))?;
        Ok(())
    }

    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        either!(&self.transport, io => io.try_read(into))
    }

    /// Whether there may be something to read, or the end, as far as the runtime knows. No system call.
    pub(super) fn may_have_bytes(&self) -> bool {
        either!(&self.transport, io => io.try_io(Interest::READABLE, || Ok(()))).is_ok()
    }

    /// Waits until there may be something to read, or the end.
    #[inline]
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.may_have_bytes() {
            self.waiting = None;
            return Poll::Ready(());
        }
        if self.waiting == Some(address(cx.waker())) { Poll::Pending } else { self.poll_anew(cx) }
    }

    fn poll_anew(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A socket that cannot be waited for tells the reader why.
        let polled = either!(&self.transport, io => io.poll_read_ready(cx)).map(drop);
        if polled.is_pending() {
            self.waits(cx);
        }
        polled
    }

    /// The task has been told to wait. One that has used up its budget is told so as well, but the runtime has not noted
    /// down that it waits.
    fn waits(&mut self, cx: &Context<'_>) {
        let is_known = has_budget_remaining() && self.watched_by == Some(this_thread());
        self.waiting = is_known.then(|| address(cx.waker()));
    }

    #[cfg(test)]
    pub(super) async fn readable(&self) -> io::Result<()> {
        either!(&self.transport, io => io.readable().await)
    }
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self { transport: Transport::Tcp(tcp), watched_by: watcher(), waiting: None }
    }
}

impl TryFrom<UnixStream> for Socket {
    type Error = io::Error;

    fn try_from(unix: UnixStream) -> io::Result<Self> {
        let transport = Transport::Unix(UnixSocket::new(unix.into_std()?)?);
        Ok(Self { transport, watched_by: watcher(), waiting: None })
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_readable(cx));
        let polled = either!(&mut this.transport, io => Pin::new(io).poll_read(cx, buf));
        if polled.is_pending() {
            this.waits(cx);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(&mut self.get_mut().transport, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.get_mut().transport, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.transport, io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.get_mut().transport, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.get_mut().transport, io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pair() -> (Socket, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (near.try_into().unwrap(), far)
    }

    fn poll(socket: &mut Socket, task: &Arc<Counting>) -> Option<Vec<u8>> {
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = Pin::new(socket).poll_read(&mut Context::from_waker(&task.clone().into()), &mut buffer);
        polled.is_ready().then(|| buffer.filled().to_vec())
    }

    #[tokio::test]
    async fn who_waits_is_known_and_woken_once_there_is_something() {
        let (mut socket, mut far) = pair();
        let task = Arc::<Counting>::default();
        for _ in 0..3 {
            assert_eq!(poll(&mut socket, &task), None);
            assert!(socket.waiting.is_some());
        }

        far.write_all(b"abc").await.unwrap();
        socket.readable().await.unwrap();

        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(&mut socket, &task).unwrap(), b"abc");
        // It has been woken for that: for what comes next it has to wait anew.
        assert_eq!(socket.waiting, None);
        assert_eq!(poll(&mut socket, &task), None);
        drop(far);
        socket.readable().await.unwrap();
        assert_eq!(poll(&mut socket, &task).unwrap(), b"");
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_there() {
        let (mut socket, mut far) = pair();
        let task = Arc::<Counting>::default();
        let waker = task.clone().into();
        let cx = &mut Context::from_waker(&waker);
        far.write_all(b"abc").await.unwrap();
        socket.readable().await.unwrap();

        assert!(socket.poll_readable(cx).is_ready() && socket.poll_readable(cx).is_ready());
        assert_eq!(poll(&mut socket, &task).unwrap(), b"abc");
        assert!(socket.poll_readable(cx).is_pending() && socket.poll_readable(cx).is_pending());
        assert_eq!(task.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_task_that_has_the_socket_now_is_woken_and_not_the_one_before() {
        let (mut socket, mut far) = pair();
        let tasks = [Arc::<Counting>::default(), Arc::<Counting>::default()];
        for task in &tasks {
            assert_eq!(poll(&mut socket, task), None);
        }

        far.write_all(b"a").await.unwrap();
        socket.readable().await.unwrap();

        assert_eq!(tasks.map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[tokio::test]
    async fn another_thread_asks_each_time() {
        let (mut socket, mut far) = pair();
        let task = Arc::<Counting>::default();
        let waiting = task.clone();
        let mut socket = tokio::task::spawn_blocking(move || {
            for _ in 0..2 {
                assert_eq!(poll(&mut socket, &waiting), None);
                assert_eq!(socket.waiting, None);
            }
            socket
        })
        .await
        .unwrap();

        far.write_all(b"a").await.unwrap();
        socket.readable().await.unwrap();

        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(&mut socket, &task).unwrap(), b"a");
    }

    #[tokio::test]
    async fn a_task_without_budget_is_not_taken_for_one_that_waits() {
        let (mut socket, mut far) = pair();
        let hears = tokio::spawn(async move {
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::coop::consume_budget().await;
            }
            let mut byte = [0];
            socket.read_exact(&mut byte).await.unwrap();
            byte
        });
        tokio::task::yield_now().await;
        far.write_all(b"a").await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(10), hears).await.expect("it is woken");
        assert_eq!(heard.unwrap(), *b"a");
    }

    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_peer_that_takes_nothing_more_is_given_up() {
        let (near, _far) = tcp_pair().await;
        let mut socket = Socket::from(near);
        socket.give_up_after(Duration::from_secs(1)).unwrap();

        let writing = async {
            loop {
                if let Err(error) = socket.write_all(&[0; 1 << 16]).await {
                    return error;
                }
            }
        };
        let broken = tokio::time::timeout(Duration::from_secs(60), writing).await.expect("it is given up");

        assert_eq!(broken.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_has_taken_all_is_asked_whether_it_is_there() {
        let (near, far) = tcp_pair().await;
        let socket = Socket::from(near);
        socket.give_up_after(Duration::from_secs(40)).unwrap();

        let Transport::Tcp(near) = &socket.transport else { panic!("TCP") };
        let [near, far] = [SockRef::from(near), SockRef::from(&far)];
        let ten = Duration::from_secs(10);
        assert_eq!((near.tcp_keepalive_time().unwrap(), near.tcp_keepalive_interval().unwrap()), (ten, ten));
        assert_eq!((near.keepalive().unwrap(), far.keepalive().unwrap()), (true, false));
    }
}

//! Where HTTP is served. A socket stays open over a reload that leaves its address as it is: nobody else takes it meanwhile, and who connects waits.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::handle::StartError;

/// Bound sockets by the addresses that configurations name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sockets(Arc<Mutex<HashMap<SocketAddr, TcpListener>>>);

impl Sockets {
    /// What listens at `address`; it is bound if that was not done before.
    pub(crate) fn listener(&self, address: SocketAddr) -> Result<TcpListener, StartError> {
        let fail = |source| StartError::Listen { address, source };
        let mut bound = self.0.lock();
        if let Some(known) = bound.get(&address) {
            return known.try_clone().map_err(fail);
        }
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let kept = listener.try_clone().map_err(fail)?;
        bound.insert(address, kept);
        Ok(listener)
    }

    /// Closes all but that of `address`.
    pub(crate) fn keep(&self, address: Option<SocketAddr>) {
        self.0.lock().retain(|bound, _| Some(*bound) == address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_bound_once_and_free_when_it_is_no_longer_kept() {
        let sockets = Sockets::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = sockets.listener(any).unwrap().local_addr().unwrap();
        assert_eq!(sockets.listener(any).unwrap().local_addr().unwrap(), address, "the same socket");
        assert!(matches!(sockets.listener(address), Err(StartError::Listen { .. })), "it is taken");
        sockets.keep(Some(any));
        assert!(TcpListener::bind(address).is_err());
        sockets.keep(None);
        assert_eq!(sockets.listener(address).unwrap().local_addr().unwrap(), address);
    }
}

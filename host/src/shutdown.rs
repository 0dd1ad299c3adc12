//! The order to stop, for whoever waits for something else.

use tokio::sync::watch;

/// Gives the order. Clones give the same one.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    pub fn order(&self) {
        self.0.send_replace(true);
    }

    pub fn is_ordered(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the order is given.
    pub async fn ordered(&self) {
        // The sender is held here, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|ordered| *ordered).await;
    }
}

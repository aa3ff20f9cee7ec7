//! The admin port's certificates: read from files, and again when those change, as mounted Secrets do.
//!
//! Looked at every [`INTERVAL`], and by what is in them: a Secret's files change by a link that is moved, which no watch of
//! a file tells. What does not hold leaves in force what held before; connections keep what they began with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ottla_client::admin::{Identity, IdentityError, Purpose};
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use tracing::{info, warn};

use crate::config::AdminPort;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// What new connections are answered with; nothing while no certificate ever held.
pub(super) type InForce = Arc<ArcSwapOption<ServerConfig>>;

/// Why files have no effect.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The contents of the three files.
#[derive(Debug, PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

impl Texts {
    async fn read(files: &AdminPort) -> Result<Self, FileError> {
        let read = async |path: &Path| {
            let told = |source| FileError::Io { path: path.display().to_string(), source };
            tokio::fs::read(path).await.map_err(told)
        };
        Ok(Self {
            certificate: read(&files.certificate).await?,
            key: read(&files.key).await?,
            authorities: read(&files.authorities).await?,
        })
    }

    fn judge(&self, now: UnixTime) -> Result<ServerConfig, FileError> {
        let identity = Identity::read(&self.certificate, &self.key, &self.authorities)?;
        identity.check(Purpose::Server, now)?;
        Ok(identity.server()?)
    }
}

/// Looks at the files.
pub(super) struct Watch {
    files: AdminPort,
    in_force: InForce,
    texts: Option<Texts>,
    /// Why they had no effect at the last look, and whether that was told.
    doubt: Option<(String, bool)>,
}

impl Watch {
    pub(super) fn new(files: AdminPort) -> (Self, InForce) {
        let in_force = InForce::default();
        (Self { files, in_force: Arc::clone(&in_force), texts: None, doubt: None }, in_force)
    }

    /// Looks as long as it is asked to.
    pub(super) async fn run(mut self) {
        loop {
            self.look(UnixTime::now()).await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Puts what is in the files in force, if that is new and holds.
    async fn look(&mut self, now: UnixTime) {
        let read = match Texts::read(&self.files).await {
            Ok(texts) if self.texts.as_ref() == Some(&texts) => {
                self.doubt = None;
                return;
            }
            Ok(texts) => texts.judge(now).map(|config| (texts, config)),
            Err(error) => Err(error),
        };
        match read {
            Ok((texts, config)) => {
                self.in_force.store(Some(Arc::new(config)));
                info!("the certificates of the admin port are in force");
                (self.texts, self.doubt) = (Some(texts), None);
            }
            Err(error) => self.doubt(error.to_string()),
        }
    }

    /// Told at the second look: at the first one the files may have been between the old and the new.
    fn doubt(&mut self, why: String) {
        let is_told = match self.doubt.take() {
            Some((before, is_told)) if before == why => {
                if !is_told {
                    let remains = if self.texts.is_some() { "the former ones" } else { "none" };
                    warn!(%why, "certificates of the admin port have no effect; in force: {remains}");
                }
                true
            }
            _ => false,
        };
        self.doubt = Some((why, is_told));
    }
}

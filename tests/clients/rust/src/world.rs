//! What the environment says of the cluster, and clients of it.

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use std::fmt::Debug;
use std::fs;
use std::future::Future;
use std::time::Duration;

pub type Outcome = Result<(), Box<dyn std::error::Error>>;

pub struct World {
    pub mode: String,
    pub endpoints: Vec<String>,
    certs: String,
}

pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

impl World {
    pub fn from_environment() -> World {
        World {
            mode: setting("QUORATE_MODE"),
            endpoints: setting("QUORATE_ENDPOINTS").split(',').map(String::from).collect(),
            certs: setting("QUORATE_CERTS"),
        }
    }

    pub fn passwords(&self) -> bool {
        self.mode == "auth"
    }

    /// A client of all members; it signs in again when its token has ended.
    pub async fn client(&self, user: &str) -> Result<Client, Error> {
        self.client_of(&self.endpoints, user, &format!("{user}pw")).await
    }

    pub async fn client_at(&self, endpoint: &str, user: &str) -> Result<Client, Error> {
        self.client_of(&[endpoint.to_string()], user, &format!("{user}pw")).await
    }

    pub async fn client_of(
        &self, endpoints: &[String], user: &str, password: &str,
    ) -> Result<Client, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(10))
            .with_auto_token_refresh(true);
        let mut scheme = "http";
        if self.mode != "plain" {
            scheme = "https";
            options = options.with_tls(self.tls(user));
        }
        if self.passwords() {
            options = options.with_user(user, password);
        }
        let urls: Vec<String> = endpoints.iter().map(|e| format!("{scheme}://{e}")).collect();
        Client::connect(urls, Some(options)).await
    }

    fn tls(&self, user: &str) -> TlsOptions {
        let read = |name: String| fs::read(format!("{}/{name}", self.certs)).expect("a file");
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca.pem".into())));
        if self.passwords() {
            return tls;
        }
        tls.identity(Identity::from_pem(read(format!("{user}.pem")), read(format!("{user}.key"))))
    }
}

/// Asks whoever started this program, and returns when it is done.
pub fn please(what: &str) {
    println!("please: {what}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).expect("an answer");
    assert_eq!(answer, "done\n", "{what}");
}

/// The call was refused, in these words.
pub fn refused<T: Debug>(result: Result<T, Error>, words: &str) {
    let error = result.expect_err(words).to_string();
    assert!(error.contains(words), "{error:?} does not say {words:?}");
}

/// Tries until there is a leader and the connection is back.
pub async fn in_the_end<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match call().await {
            Err(Error::GRpcStatus(status)) if passing(&status.to_string()) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(Error::TransportError(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            result => return result,
        }
    }
}

fn passing(status: &str) -> bool {
    ["unavailable", "Unavailable", "transport error", "timed out", "cancelled", "h2 protocol"]
        .iter()
        .any(|word| status.contains(word))
}

//! A cluster of three Garage nodes, which keep each object three times (`make edge-test`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xspace_tests::{
    Address, Connection, Program, Protocol, Request, Site, StoreKey, block_on, free_port, poll,
};

/// How many nodes.
pub const NODES: usize = 3;

/// The cluster, with a bucket.
pub struct Garage {
    nodes: Mutex<Vec<Program>>,
    addresses: Vec<SocketAddr>,
    key: StoreKey,
    bucket: &'static str,
    region: &'static str,
    /// Of configurations and data.
    _site: Site,
}

impl Garage {
    /// Starts the nodes, and makes key and bucket with Garage's own commands.
    pub fn start(program: &Path, bucket: &'static str, region: &'static str) -> Self {
        let site = Site::new();
        let nodes: Vec<_> = (0..NODES).map(|_| (free_port(), free_port())).collect();
        let confs: Vec<PathBuf> = (nodes.iter().enumerate())
            .map(|(number, (rpc, api))| {
                let dir = site.make_dir(&format!("node{number}"));
                let conf = format!(
                    "metadata_dir = \"{dir}/meta\"\n\
                     data_dir = \"{dir}/data\"\n\
                     db_engine = \"sqlite\"\n\
                     replication_factor = {NODES}\n\
                     rpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
                     rpc_public_addr = \"127.0.0.1:{rpc}\"\n\
                     rpc_secret = \"{}\"\n\
                     [s3_api]\n\
                     s3_region = \"{region}\"\n\
                     api_bind_addr = \"127.0.0.1:{api}\"\n",
                    "0123456789abcdef".repeat(4),
                    dir = dir.display(),
                );
                site.write(&format!("node{number}.toml"), conf)
            })
            .collect();
        let command = |conf: &Path| {
            let mut command = Command::new(program);
            command.arg("-c").arg(conf);
            command
        };
        let addresses: Vec<SocketAddr> =
            nodes.iter().map(|&(_, api)| ([127, 0, 0, 1], api).into()).collect();
        let nodes = confs.iter().zip(&addresses).map(|(conf, &address)| {
            let mut server = command(conf);
            server.arg("server");
            Program::start(server, Address::Tcp(address))
        });
        let nodes = Mutex::new(nodes.collect());

        let run = |conf: &Path, arguments: &[&str]| {
            let output = command(conf).args(arguments).output().expect("garage runs");
            let [stdout, stderr] =
                [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
            assert!(output.status.success(), "garage {arguments:?}: {stdout}{stderr}");
            stdout
        };
        // `ID@ADDRESS`
        let ids: Vec<String> =
            confs.iter().map(|conf| run(conf, &["node", "id", "-q"]).trim().to_owned()).collect();
        let first = |arguments: &[&str]| run(&confs[0], arguments);
        let mut assign = vec!["layout", "assign", "--zone", "dc1", "--capacity", "1G"];
        for (number, id) in ids.iter().enumerate() {
            if number > 0 {
                first(&["node", "connect", id]);
            }
            assign.push(id.split('@').next().expect("an id"));
        }
        first(&assign);
        first(&["layout", "apply", "--version", "1"]);
        let key = StoreKey {
            id: format!("GK{}", "0123456789ab".repeat(2)),
            secret: "fedcba9876543210".repeat(4),
            token: None,
        };
        first(&["key", "import", "--yes", &key.id, &key.secret]);
        first(&["bucket", "create", bucket]);
        first(&["bucket", "allow", "--read", "--write", bucket, "--key", &key.id]);
        let garage = Self { nodes, addresses, key, bucket, region, _site: site };
        // The layout takes a moment to reach the other nodes.
        for node in 0..NODES {
            assert!(poll(|| garage.try_put(node, "first", b"first") == 200), "{}", garage.logs());
        }
        garage
    }

    /// Where the nodes are.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The key that may read and write.
    pub fn key(&self) -> &StoreKey {
        &self.key
    }

    /// Puts an object.
    pub fn put(&self, object: &str, content: &[u8]) {
        assert_eq!(self.try_put(0, object, content), 200, "{object}: {}", self.logs());
    }

    fn try_put(&self, node: usize, object: &str, content: &[u8]) -> u16 {
        let host = self.addresses[node].to_string();
        let path = format!("/{}/{object}", self.bucket);
        let signed = ("PUT", host.as_str(), self.region);
        let (path, fields) = self.key.sign(signed, path.as_bytes(), content);
        let request = fields
            .iter()
            .fold(Request::new("PUT", &path), |request, (name, value)| request.header(name, value));
        self.send(node, &request.body(content))
    }

    /// The status of an unsigned request for an object.
    pub fn get_unsigned(&self, object: &str) -> u16 {
        self.send(0, &Request::get(&format!("/{}/{object}", self.bucket)))
    }

    fn send(&self, node: usize, request: &Request) -> u16 {
        let mut connection = block_on(Connection::open(Protocol::Http1, self.addresses[node]));
        connection.send(request).status
    }

    /// Kills a node, for good.
    pub fn kill(&self, node: usize) {
        self.nodes()[node].kill();
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Program>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> String {
        self.nodes().iter().map(Program::log).collect::<Vec<_>>().join("\n---\n")
    }
}

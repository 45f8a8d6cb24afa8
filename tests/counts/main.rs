//! What happens outside of nginx: counts in databases, readers of logs and Prometheus, and catalogs from
//! databases. All of them are the real servers (`make suite-counts`).

/// Catalogs in LMDB that follow a database.
mod catalog_follow;
/// Catalogs that the scripts in nginx-conf/ write from a database.
mod catalog_from_sql;
/// What is counted for players, download programs and robots.
mod clients;
/// The table of clients in the documentation.
mod clients_table;
/// MariaDB, MySQL, PostgreSQL, SQLite.
mod database;
/// A site of the replaced kind, before and after.
mod migration;
/// Accounts of MySQL.
mod mysql;
/// Plays in the log that nginx-conf/plays-to-sql brings into a database.
mod plays_to_sql;
/// Prometheus.
mod prometheus;
/// The site whose plays are counted.
mod site;
/// Plays that go to syslog.
mod syslog;

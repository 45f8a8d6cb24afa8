//! What happens to counts outside of nginx: databases, readers of logs, Prometheus. All of them are
//! the real servers (`make suite-counts`).

/// What is counted for players, download programs and robots.
mod clients;
/// The table of clients in the documentation.
mod clients_table;
/// MariaDB, PostgreSQL, SQLite.
mod database;
/// Plays in the log that nginx-conf/plays-to-sql brings into a database.
mod plays_to_sql;
/// Prometheus.
mod prometheus;
/// The site whose plays are counted.
mod site;
/// Plays that go to syslog.
mod syslog;

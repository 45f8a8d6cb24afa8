//! What happens to counts outside of nginx: databases, readers of logs, Prometheus. All of them are
//! the real servers (`make suite-counts`).

/// MariaDB, PostgreSQL, SQLite.
mod database;
/// Plays in the log that nginx-conf/plays-to-sql brings into a database.
mod plays_to_sql;
/// Prometheus.
mod prometheus;
/// The site whose plays are counted.
mod site;

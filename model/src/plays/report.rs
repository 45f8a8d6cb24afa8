//! What was counted, as JSON and for Prometheus, both from one list.

use core::fmt::{self, Write};

use super::gauges::CatalogHealth;
use super::spaces::{MAX_NAME_LEN, Space};
use super::totals::{Count, LOOKUP_BOUNDS};
use super::zone::Zone;
use crate::request::SpaceId;

/// There is no memory for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl From<fmt::Error> for NoMemory {
    fn from(_: fmt::Error) -> Self {
        Self
    }
}

/// The media type of Prometheus' text format.
pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4";

/// What is reported.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The name of the zone.
    pub name: &'a str,
    /// The zone.
    pub zone: &'a Zone<'a>,
    /// The names of outcomes, by their numbers.
    pub outcomes: &'a [&'a str],
    /// The names of reasons for which links are refused, by their numbers.
    pub reasons: &'a [&'a str],
    /// The paths of the catalogs, in the order of their indexes.
    pub catalogs: &'a [&'a str],
    /// How many processes there are.
    pub processes: usize,
}

/// A name, as Prometheus has it, what it means, and the values.
struct Metric<'a> {
    name: &'static str,
    help: &'static str,
    values: Values<'a>,
}

enum Values<'a> {
    One(u64),
    /// With the values of a label.
    Labelled(&'static str, Vec<(&'a str, u64)>),
    /// A histogram: how many are up to each bound, how many there are, and their sum in thousandths.
    Histogram(Vec<(&'a str, u64)>, u64, u64),
}

impl Metric<'_> {
    /// Counters end like this, by convention.
    const COUNTER: &'static str = "_total";

    fn is_counter(&self) -> bool {
        self.name.ends_with(Self::COUNTER)
    }

    /// The key in JSON.
    fn key(&self) -> &'static str {
        let key = self.name.strip_prefix("xspace_").unwrap_or(self.name);
        key.strip_suffix(Self::COUNTER).unwrap_or(key)
    }
}

/// A count of a zone.
type OfZone = fn(&Zone<'_>, Count) -> u64;

impl Report<'_> {
    /// The metrics, with counts since the zone was made ([`Zone::total`]) or since counting has begun
    /// ([`Zone::sum`]).
    fn metrics(&self, of: OfZone) -> Result<Vec<Metric<'_>>, NoMemory> {
        let zone = self.zone;
        let one = |name, help, value| Metric { name, help, values: Values::One(value) };
        let total = |name, help, count| one(name, help, of(zone, count));
        let requests = self.outcomes.iter().zip(0..);
        let requests = requests.map(|(&name, outcome)| (name, of(zone, Count::Requests(outcome))));
        let refused = self.reasons.iter().zip(0..);
        let refused = refused.map(|(&name, reason)| (name, of(zone, Count::LinkRefused(reason))));
        let catalogs = |of: fn(&CatalogHealth) -> u64| {
            let health = |index| zone.catalog(index, self.processes);
            let each = self.catalogs.iter().zip(0..);
            let each = each.filter_map(|(&path, index)| Some((path, of(&health(index)?))));
            collected(each).map(|values| Values::Labelled("catalog", values))
        };
        let catalog = |name, help, of: fn(&CatalogHealth) -> u64| {
            catalogs(of).map(|values| Metric { name, help, values })
        };
        let metrics = [
            Metric {
                name: "xspace_requests_total",
                help: "Requests in locations with xspace_stats, by outcome.",
                values: Values::Labelled("outcome", collected(requests)?),
            },
            total("xspace_sent_bytes_total", "Bytes of recordings sent to clients.", Count::Bytes),
            total("xspace_plays_total", "Plays of recordings.", Count::Plays),
            total("xspace_downloads_total", "Downloads of recordings.", Count::Downloads),
            total(
                "xspace_listeners_discarded_total",
                "Listeners that were forgotten or not remembered, because the zone is full.",
                Count::ListenersDiscarded,
            ),
            total(
                "xspace_spaces_discarded_total",
                "Requests for spaces that the zone has no room for.",
                Count::SpacesDiscarded,
            ),
            Metric {
                name: "xspace_link_refused_total",
                help: "Requests whose link was refused, by reason.",
                values: Values::Labelled("reason", collected(refused)?),
            },
            Metric {
                name: "xspace_lookup_duration_seconds",
                help: "How long lookups took.",
                values: self.lookups(of)?,
            },
            one(
                "xspace_listeners_limit",
                "How many listeners the zone has room for.",
                zone.layout().listeners() as u64,
            ),
            one("xspace_spaces", "Spaces in the zone.", zone.spaces_in_use()),
            one(
                "xspace_spaces_limit",
                "How many spaces the zone has room for.",
                zone.layout().spaces() as u64,
            ),
            one("xspace_created_timestamp_seconds", "When counting has begun.", zone.created()),
            catalog(
                "xspace_catalog_entries",
                "Entries of a catalog that can be used.",
                |health| health.entries.into(),
            )?,
            catalog(
                "xspace_catalog_unusable_entries",
                "Entries of a catalog that cannot be used.",
                |health| health.unusable.into(),
            )?,
            catalog(
                "xspace_catalog_last_success_timestamp_seconds",
                "When a catalog was read or found unchanged last, by the worker where that is longest ago.",
                |health| health.last_success,
            )?,
        ];
        collected(metrics.into_iter().filter(|metric| !metric.is_empty()))
    }

    fn lookups(&self, of: OfZone) -> Result<Values<'_>, NoMemory> {
        let of_bucket = |bucket| of(self.zone, Count::Lookups(bucket));
        let mut count = 0;
        let buckets = LOOKUP_BOUNDS.iter().zip(0..).map(|((_, bound), bucket)| {
            count += of_bucket(bucket);
            (*bound, count)
        });
        let buckets = collected(buckets)?;
        count += of_bucket(LOOKUP_BOUNDS.len() as u8);
        Ok(Values::Histogram(buckets, count, of(self.zone, Count::LookupTime)))
    }

    /// The text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn prometheus(&self) -> Result<String, NoMemory> {
        let mut text = Text::default();
        for metric in self.metrics(|zone, count| zone.total(count))? {
            let (name, help) = (metric.name, metric.help);
            let kind = match metric.values {
                Values::Histogram(..) => "histogram",
                _ if metric.is_counter() => "counter",
                _ => "gauge",
            };
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            match metric.values {
                Values::One(value) => writeln!(text, "{name} {value}")?,
                Values::Labelled(label, values) => {
                    for (of, value) in values {
                        writeln!(text, "{name}{{{label}=\"{}\"}} {value}", LabelValue(of))?;
                    }
                }
                Values::Histogram(buckets, count, sum) => {
                    for (bound, value) in buckets {
                        writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {value}")?;
                    }
                    writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?;
                    writeln!(text, "{name}_sum {}\n{name}_count {count}", Thousandths(sum))?;
                }
            }
        }
        Ok(text.0)
    }

    /// JSON, with the counts of a space, and of those in some slots, if they are wanted.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn json(
        &self,
        space: Option<SpaceId<'_>>,
        top: Option<&[usize]>,
    ) -> Result<String, NoMemory> {
        let (mut text, zone) = (Text::default(), self.zone);
        write!(text, "{{\"zone\":{},\"since\":{}", JsonString(self.name), zone.since())?;
        for metric in self.metrics(|zone, count| zone.sum(count))? {
            write!(text, ",\"{}\":", metric.key())?;
            match metric.values {
                Values::One(value) => write!(text, "{value}")?,
                Values::Labelled(_, values) => {
                    let mut before = '{';
                    for (of, value) in values {
                        write!(text, "{before}{}:{value}", JsonString(of))?;
                        before = ',';
                    }
                    text.write_char('}')?;
                }
                Values::Histogram(buckets, count, sum) => {
                    text.write_str("{\"buckets\":{")?;
                    for (bound, value) in buckets {
                        write!(text, "\"{bound}\":{value},")?;
                    }
                    let sum = Thousandths(sum);
                    write!(text, "\"+Inf\":{count}}},\"count\":{count},\"sum\":{sum}}}")?;
                }
            }
        }
        let [requests, bytes, plays, downloads] =
            [Count::SpacesDiscarded, Count::OtherBytes, Count::OtherPlays, Count::OtherDownloads]
                .map(|count| zone.sum(count));
        write!(text, ",\"other\":{}", Counts { requests, plays, downloads, bytes })?;
        if let Some(id) = space {
            let counts = zone.space(id).map_or(Counts::default(), Counts::of);
            write!(text, ",\"space\":{{\"id\":\"{id}\",\"counts\":{counts}}}")?;
        }
        if let Some(slots) = top {
            text.write_str(",\"top\":[")?;
            for (number, space) in slots.iter().filter_map(|&slot| zone.slot(slot)).enumerate() {
                let before = if number > 0 { "," } else { "" };
                let (mut buffer, counts) = ([0; MAX_NAME_LEN], Counts::of(space));
                match space.id(&mut buffer) {
                    Some(id) => write!(text, "{before}{{\"id\":\"{id}\",\"counts\":{counts}}}")?,
                    None => write!(text, "{before}{{\"id\":null,\"counts\":{counts}}}")?,
                }
            }
            text.write_char(']')?;
        }
        text.write_str("}\n")?;
        Ok(text.0)
    }
}

impl Metric<'_> {
    fn is_empty(&self) -> bool {
        matches!(&self.values, Values::Labelled(_, values) if values.is_empty())
    }
}

/// A number of thousandths, as a decimal fraction.
struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What was counted for a space, or for those without a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    plays: u64,
    downloads: u64,
    bytes: u64,
}

impl Counts {
    fn of(space: Space<'_>) -> Self {
        Self {
            requests: space.requests(),
            plays: space.plays(),
            downloads: space.downloads(),
            bytes: space.bytes(),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, plays, downloads, bytes } = self;
        write!(f, "{{\"requests\":{requests},\"plays\":{plays},")?;
        write!(f, "\"downloads\":{downloads},\"sent_bytes\":{bytes}}}")
    }
}

fn collected<T>(values: impl Iterator<Item = T>) -> Result<Vec<T>, NoMemory> {
    let mut vec = Vec::new();
    for value in values {
        vec.try_reserve(1).map_err(|_| NoMemory)?;
        vec.push(value);
    }
    Ok(vec)
}

/// A text whose memory is allocated fallibly.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Makes room for another text.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.try_reserve(piece.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(piece);
        Ok(())
    }
}

/// The value of a label, escaped as Prometheus wants it.
struct LabelValue<'a>(&'a str);

impl fmt::Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

/// A string of JSON with its quotes (RFC 8259, section 7).
struct JsonString<'a>(&'a str);

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(f, "\\{c}"),
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c)),
            c => f.write_char(c),
        })?;
        f.write_char('"')
    }
}

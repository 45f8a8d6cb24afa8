//! Finds out from NGINX's compiler where NGINX's structs have their fields, without running
//! anything that it compiles: the build may be for another machine.
//!
//! A C file names the fields (`src/nginx/layout.c`). What its macros make of them stands in the
//! object as records that begin with a mark; the bit fields among them come with two copies of
//! their struct, one with all bits of the field set and one with the lowest, so the bytes of the
//! object show where they are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What NGINX was compiled with.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// Where relative paths in the options are below.
    pub(crate) directory: PathBuf,
    /// The compiler and its options.
    pub(crate) command: Vec<String>,
}

impl Compiler {
    /// The compiler and the options in the Makefile that NGINX's configure writes. `other` is taken
    /// instead of that compiler.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub(crate) fn of_makefile(
        makefile: &Path,
        directory: PathBuf,
        other: Option<String>,
    ) -> Result<Self, String> {
        let text = fs::read_to_string(makefile)
            .map_err(|e| format!("can't read {}: {e}", makefile.display()))?;
        let text = text.replace("\\\n", " ");
        let variable = |name: &str| {
            let value = text.lines().find_map(|line| {
                line.strip_prefix(name)?.trim_start().strip_prefix('=').map(str::trim)
            });
            value.ok_or_else(|| format!("no {name} in {}", makefile.display()))
        };
        let split = |words: &str| {
            // make has two of these where the shell has one.
            let words = words.replace("$$", "$");
            shlex::split(&words)
                .ok_or_else(|| format!("odd quotes in {}: {words}", makefile.display()))
        };
        let mut command = split(other.as_deref().map_or_else(|| variable("CC"), Ok)?)?;
        let mut options = split(variable("CFLAGS")?)?;
        options.extend(split(variable("ALL_INCS")?)?);
        // Warnings change no struct, and another compiler than the one that the options are for
        // may not know them. -Wp,… and the like are options for its parts.
        options.retain(|option| !option.starts_with("-W") || option.contains(','));
        command.extend(options);
        Ok(Self { directory, command })
    }

    /// Compiles a file and returns the object's bytes.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub(crate) fn compile(&self, source: &Path, object: &Path) -> Result<Vec<u8>, String> {
        let (compiler, options) = self.command.split_first().ok_or("no compiler")?;
        let output = Command::new(compiler)
            .args(options)
            // With link-time optimization the object would hold something else than its data.
            .args(["-w", "-g0", "-fno-lto", "-c", "-o"])
            .arg(object)
            .arg(source)
            .current_dir(&self.directory)
            .output()
            .map_err(|e| format!("can't run {compiler}, the C compiler of NGINX's build: {e}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{compiler} can't compile {}:\n{said}", source.display()));
        }
        fs::read(object).map_err(|e| format!("can't read {}: {e}", object.display()))
    }
}

/// Where a bit field is: the smallest unit of 1, 2, 4 or 8 bytes that has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    /// Where the unit is in the struct, in bytes.
    pub(crate) offset: usize,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// How far the field's lowest bit is from the lowest of the unit, read as a number.
    pub(crate) shift: u32,
    /// The field's width in bits.
    pub(crate) width: u32,
}

/// What an object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Offset and size of fields, by `type.field`.
    pub(crate) fields: BTreeMap<String, (usize, usize)>,
    /// Sizes of structs.
    pub(crate) sizes: BTreeMap<String, usize>,
    /// Bit fields, by `type.field`.
    pub(crate) bits: BTreeMap<String, Bits>,
}

/// The record of layout.h: mark, name, and two numbers in decimal digits.
const MARK: &[u8] = b"\x01xspace ";
const MARK_LEN: usize = 16;
const NAME_LEN: usize = 96;
const NUMBER_LEN: usize = 8;
const RECORD_LEN: usize = MARK_LEN + NAME_LEN + 2 * NUMBER_LEN;

impl Layout {
    /// Reads the records in an object.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, or that there is none.
    pub(crate) fn read(object: &[u8], is_big_endian: bool) -> Result<Self, String> {
        let mut layout = Self::default();
        let marks = object.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
        for (at, _) in marks {
            let record = object.get(at..at + RECORD_LEN).ok_or("a record is cut off")?;
            let (mark, rest) = record.split_at(MARK_LEN);
            let (name, numbers) = rest.split_at(NAME_LEN);
            let (first, second) = numbers.split_at(NUMBER_LEN);
            let kind = text(mark.strip_prefix(MARK).unwrap_or_default())?;
            let name = text(name)?.to_owned();
            let (first, second) = (number(first)?, number(second)?);
            match kind {
                "field" => insert(&mut layout.fields, name, (first, second))?,
                "size" => insert(&mut layout.sizes, name, first)?,
                "bits" => {
                    let size =
                        second.checked_sub(first).ok_or("a record with malformed numbers")?;
                    let copy = |from: usize| object.get(at + from..at + from + size);
                    let (Some(all), Some(lowest)) = (copy(first), copy(second)) else {
                        return Err("a record is cut off".into());
                    };
                    let bits = Bits::find(all, lowest, is_big_endian)
                        .ok_or_else(|| format!("the bits of {name} are not next to each other"))?;
                    insert(&mut layout.bits, name, bits)?;
                }
                _ => return Err(format!("a record of unknown kind \"{kind}\"")),
            }
        }
        if layout.fields.is_empty() && layout.bits.is_empty() {
            return Err("the object has no records".into());
        }
        Ok(layout)
    }

    /// Rust code that checks fields and sizes at compile time, and has a constant for each bit
    /// field, in a module with the name of its struct. It expects a module `types` with the structs,
    /// a function `size_of_field` and a type `BitField`.
    pub(crate) fn to_rust(&self) -> String {
        let mut code = String::new();
        for (name, (offset, size)) in &self.fields {
            let (of, field) = split(name);
            let _ = writeln!(
                code,
                "const _: () = assert!(core::mem::offset_of!(types::{of}, {field}) == {offset},\n    \
                 \"{name} is at byte {offset} for NGINX's compiler, but not in its bindings\");\n\
                 const _: () = assert!(size_of_field(|of: *const types::{of}| unsafe {{ &raw const (*of).{field} }}) == {size},\n    \
                 \"{name} has {size} bytes for NGINX's compiler, but not in its bindings\");",
            );
        }
        for (of, size) in &self.sizes {
            let _ = writeln!(
                code,
                "const _: () = assert!(size_of::<types::{of}>() == {size},\n    \
                 \"{of} has {size} bytes for NGINX's compiler, but not in its bindings\");",
            );
        }
        let mut last = "";
        for (name, Bits { offset, size, shift, width }) in &self.bits {
            let (of, field) = split(name);
            if of != last {
                let end = if last.is_empty() { "" } else { "}\n" };
                let _ = writeln!(
                    code,
                    "{end}pub(crate) mod {of} {{\n    use super::{{BitField, types}};"
                );
            }
            last = of;
            let _ = writeln!(
                code,
                "    pub(crate) const {field}: BitField<types::{of}> = BitField::new({offset}, {size}, {shift}, {width});",
            );
        }
        if !last.is_empty() {
            code.push_str("}\n");
        }
        code
    }
}

impl Bits {
    /// Finds a field from the bytes of a struct in which all of its bits are set, and no others,
    /// and of one in which its lowest is.
    fn find(all: &[u8], lowest: &[u8], is_big_endian: bool) -> Option<Self> {
        let first = all.iter().position(|&byte| byte != 0)?;
        let last = all.iter().rposition(|&byte| byte != 0)?;
        [1, 2, 4, 8].into_iter().find_map(|size| {
            let offset = first / size * size;
            let unit = |bytes: &[u8]| {
                let bytes = bytes.get(offset..offset + size)?.iter();
                let append = |unit: u64, byte: &u8| (unit << 8) | u64::from(*byte);
                Some(match is_big_endian {
                    true => bytes.fold(0, append),
                    false => bytes.rev().fold(0, append),
                })
            };
            let (mask, lowest) = (unit(all)?, unit(lowest)?);
            let (shift, width) = (mask.trailing_zeros(), mask.count_ones());
            let is_whole = last < offset + size && width <= 32;
            let is_one_piece = mask >> shift == u64::MAX >> (64 - width);
            (is_whole && is_one_piece && lowest == 1 << shift).then_some(Self {
                offset,
                size,
                shift,
                width,
            })
        })
    }
}

fn split(name: &str) -> (&str, &str) {
    // FIELD and BITS in layout.h name a field with its struct; `type` and `use` are keywords in Rust.
    match name.split_once('.') {
        Some((of, "type")) => (of, "type_"),
        Some((of, "use")) => (of, "use_"),
        Some(parts) => parts,
        None => (name, ""),
    }
}

fn insert<T: PartialEq>(map: &mut BTreeMap<String, T>, name: String, new: T) -> Result<(), String> {
    // An object may be for several machines at once.
    match map.get(&name) {
        Some(old) if *old != new => {
            Err(format!("{name} is in the object twice, in different places"))
        }
        _ => {
            map.insert(name, new);
            Ok(())
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.is_empty() && text.chars().all(is_known))
        .ok_or_else(|| "a record with a malformed name".into())
}

fn number(bytes: &[u8]) -> Result<usize, String> {
    let digits = std::str::from_utf8(bytes).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "a record with a malformed number".into())
}

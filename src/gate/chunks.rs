//! The strict look at a body in chunks (RFC 9112 section 7.1), on the bytes as they came.
//!
//! Law: where two parsers could disagree about where a chunk line, a trailer or the body ends, the
//! request goes no further. The proxy's own parser skips whatever stands in an extension and
//! takes a line without digits for the end; what passes here, it reads as everybody does.

use super::nominated::is_token;

/// The most digits of a size: more than any body has, less than overflows.
const DIGITS: usize = 15;
/// The longest chunk line. Nobody here reads extensions.
const LINE: usize = 256;
/// All trailers together. They are dropped.
const TRAILERS: usize = 8 * 1024;
/// By how much the frame of a body may outweigh what it frames, in bytes.
const EXCESS: usize = 256 * 1024;

/// Why the frame of a body is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadChunk {
    /// Not plain hexadecimal digits, or too many.
    Size,
    /// Not `;` and something printable, or too much of it.
    Extension,
    /// A line or a chunk that does not end in CR LF.
    End,
    /// Not `name: value`, or too much of it.
    Trailer,
    /// Far more frame than body.
    Excess,
}

/// Whether the body is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    Over,
}

/// How far a body was read.
#[derive(Debug, Default)]
pub struct Chunks {
    at: At,
    /// What is left of the chunk.
    size: u64,
    /// How much there is of the line, or of the trailers.
    length: usize,
    /// By how much the frame outweighs the body.
    excess: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Size,
    ExtensionName,
    Extension,
    LineLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Over,
}

impl Chunks {
    /// Reads on; what comes after the end of the body is not looked at.
    ///
    /// # Errors
    /// The first thing about which two parsers could disagree.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<Progress, BadChunk> {
        while self.at != At::Over {
            if self.at == At::Data {
                let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len());
                self.size -= count as u64;
                self.excess = self.excess.saturating_sub(count);
                bytes = &bytes[count..];
                if self.size == 0 {
                    self.at = At::DataCr;
                }
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(Progress::More) };
            bytes = rest;
            self.excess += 1;
            if self.excess > EXCESS {
                return Err(BadChunk::Excess);
            }
            self.at = self.after(byte)?;
        }
        Ok(Progress::Over)
    }

    fn after(&mut self, byte: u8) -> Result<At, BadChunk> {
        match (self.at, byte) {
            (At::Size, b'\r') if self.length > 0 => Ok(At::LineLf),
            (At::Size, b';') if self.length > 0 => Ok(At::ExtensionName),
            (At::Size, _) => self.digit(byte),
            (At::ExtensionName, _) if is_token(byte) => self.longer(LINE, At::Extension, BadChunk::Extension),
            (At::Extension, b'\r') => Ok(At::LineLf),
            (At::Extension, b'\t' | b' '..=b'~') => self.longer(LINE, At::Extension, BadChunk::Extension),
            (At::ExtensionName | At::Extension, _) => Err(BadChunk::Extension),
            (At::LineLf, b'\n') => {
                self.length = 0;
                Ok(if self.size == 0 { At::Trailer } else { At::Data })
            }
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::Trailer, b'\r') => Ok(At::EndLf),
            (At::Trailer | At::TrailerName, _) if is_token(byte) => {
                self.longer(TRAILERS, At::TrailerName, BadChunk::Trailer)
            }
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.longer(TRAILERS, At::TrailerValue, BadChunk::Trailer)
            }
            (At::Trailer | At::TrailerName | At::TrailerValue, _) => Err(BadChunk::Trailer),
            (At::TrailerLf, b'\n') => Ok(At::Trailer),
            (At::EndLf, b'\n') => Ok(At::Over),
            _ => Err(BadChunk::End),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<At, BadChunk> {
        let digit = char::from(byte).to_digit(16).ok_or(BadChunk::Size)?;
        self.size = self.size << 4 | u64::from(digit);
        self.longer(DIGITS, At::Size, BadChunk::Size)
    }

    fn longer(&mut self, most: usize, next: At, trouble: BadChunk) -> Result<At, BadChunk> {
        self.length += 1;
        if self.length > most { Err(trouble) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(body: &[u8]) -> Result<Progress, BadChunk> {
        Chunks::default().read(body)
    }

    #[test]
    fn what_has_one_reading_passes() {
        for body in [
            "0\r\n\r\n",
            "1\r\na\r\n0\r\n\r\n",
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "002\r\n\r\n\r\n000\r\n\r\n",
            "1;name\r\na\r\n0;last=yes\r\n\r\n",
            "1;name=value;other=\"a b\"\r\na\r\n0\r\n\r\n",
            "0\r\nX-T: 1\r\nY:\r\nZ: \t\u{e9}\r\n\r\n",
        ] {
            assert_eq!(whole(body.as_bytes()), Ok(Progress::Over), "{body:?}");
        }
        assert_eq!(
            whole(b"0\r\n\r\nGET / HTTP/1.1\n"),
            Ok(Progress::Over),
            "what follows is not of the body"
        );
        for begun in ["", "1", "1\r", "1\r\n", "1\r\na", "1\r\na\r\n0\r\n", "0\r\nX: y\r\n", "0\r\n\r"] {
            assert_eq!(whole(begun.as_bytes()), Ok(Progress::More), "{begun:?}");
        }
    }

    #[test]
    fn a_size_that_is_not_plain_is_refused() {
        for line in ["", " 1", "0x1", "0_1", "+1", "-1", "g", "\n1", "1 ", "1\t", "1,", "0000000000000001"] {
            let body = format!("{line}\r\na\r\n0\r\n\r\n");
            assert_eq!(whole(body.as_bytes()), Err(BadChunk::Size), "{body:?}");
        }
        for line in ["\r\n", ";a\r\n", " \r\n", "1\n"] {
            assert_eq!(whole(line.as_bytes()), Err(BadChunk::Size), "{line:?}");
        }
    }

    #[test]
    fn an_extension_with_more_than_one_reading_is_refused() {
        let long = format!(";{}", "x".repeat(LINE));
        for extension in
            [";", ";\n", ";a\nb", ";\"\n\"", ";\"\n", "; ", ";;", ";a\0b", ";a\x7f", ";a\u{e9}", &long]
        {
            for size in ["1", "0"] {
                let body = format!("{size}{extension}\r\na\r\n0\r\n\r\n");
                assert_eq!(whole(body.as_bytes()), Err(BadChunk::Extension), "{body:?}");
            }
        }
    }

    #[test]
    fn every_line_and_every_chunk_ends_in_cr_lf() {
        for body in [
            "1\ra\r\n",
            "1\r\r\n",
            "1;a\rb\r\n",
            "1\r\naX",
            "1\r\na\n",
            "1\r\na\rX",
            "0\r\nX: y\rz",
            "0\r\n\r\r",
        ] {
            assert_eq!(whole(body.as_bytes()), Err(BadChunk::End), "{body:?}");
        }
    }

    #[test]
    fn a_trailer_that_is_no_field_is_refused() {
        let long = format!("X: {}\r\n\r\n", "y".repeat(TRAILERS));
        for trailer in [
            "X\r\n\r\n",
            "\0: x",
            "Content-Length : 5\r\n",
            ": x",
            " x",
            "\n",
            "X: a\nb",
            "X: \0",
            "X: \x7f",
            &long,
        ] {
            let body = format!("0\r\n{trailer}");
            assert_eq!(whole(body.as_bytes()), Err(BadChunk::Trailer), "{body:?}");
        }
    }

    #[test]
    fn a_frame_may_outweigh_its_body_by_so_much_only() {
        let small = |count: usize| "1\r\nx\r\n".repeat(count);
        assert_eq!(whole(small(EXCESS / 4 - 1).as_bytes()), Ok(Progress::More));
        assert_eq!(whole(small(EXCESS / 4 + 1).as_bytes()), Err(BadChunk::Excess));
        let fair = "8\r\n01234567\r\n".repeat(EXCESS);
        assert_eq!(whole(fair.as_bytes()), Ok(Progress::More), "however many there are");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_body_is_cut(
            body in "([0-2]{0,2}(;[a\"\n ]{0,3})?\r?\n?[a\r\n]{0,3}){0,4}(0\r\n(X: ?y\r\n|\r|\n){0,2}\r\n)?",
            cuts in prop::collection::vec(1..4_usize, 1..80),
        ) {
            let mut rest = body.as_bytes();
            let mut chunks = Chunks::default();
            let mut said = Ok(Progress::More);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                said = chunks.read(piece);
                if said != Ok(Progress::More) {
                    break;
                }
            }
            prop_assert_eq!(said, whole(body.as_bytes()));
        }
    }
}

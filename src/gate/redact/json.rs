//! Rewrites JSON as it streams: what stands under certain keys becomes [`MASK`].
//!
//! Law: strict JSON in UTF-8 and nothing else (RFC 8259), so that whoever reads the result reads
//! the keys that were read here. What it is cut into never matters, and however long a text is,
//! only its depth and one key's name are kept in memory. After the first fault nothing more comes out.

use std::sync::Arc;

use super::name::{Name, Names};

/// What takes a value's place.
pub const MASK: &[u8] = b"\"***REDACTED***\"";
/// Objects and lists within each other. Their kinds are bits of one number.
pub const DEPTH_MAX: u32 = 128;

/// The text is not JSON, or nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// One text on its way through.
#[derive(Debug)]
pub struct Rewriter {
    names: Arc<Names>,
    utf8: Utf8,
    expects: Expects,
    depth: u32,
    /// A bit for each level, the innermost lowest: set for an object.
    kinds: u128,
    /// The key that is being read, or was read last.
    name: Name,
    /// The next value takes no part in the result.
    is_next_hidden: bool,
    /// The depth at which a hidden value began.
    hidden_at: Option<u32>,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
    Text(Of),
    Escape(Of),
    /// So many digits of an escaped character are left.
    Hex(Of, u8),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
}

/// Whose text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Key,
    Value,
}

/// How far a number got (RFC 8259 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    /// After this byte; `None` where it belongs to the number no more.
    const fn then(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::Sign),
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    const fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Exponent)
    }
}

/// A piece of the text, and how much of it is in the result.
struct Piece<'a> {
    bytes: &'a [u8],
    at: usize,
    /// From here on it is kept, unless something is hidden.
    from: usize,
    out: &'a mut Vec<u8>,
}

impl Rewriter {
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            utf8: Utf8::default(),
            expects: Expects::Value,
            depth: 0,
            kinds: 0,
            name: Name::default(),
            is_next_hidden: false,
            hidden_at: None,
        }
    }

    /// The next piece of the text; what is left of it is added to `out`.
    ///
    /// # Errors
    /// [`Broken`]. What is in `out` then is the beginning of no JSON text, and must not be ended.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        self.utf8.check(bytes)?;
        let mut piece = Piece { bytes, at: 0, from: 0, out };
        while let Some(&byte) = bytes.get(piece.at) {
            self.step(byte, &mut piece)?;
        }
        if self.hidden_at.is_none() {
            piece.out.extend_from_slice(&bytes[piece.from..]);
        }
        Ok(())
    }

    /// The text is over.
    ///
    /// # Errors
    /// [`Broken`] where it is not whole, which no text at all is neither.
    pub fn finish(&self) -> Result<(), Broken> {
        let is_over = match self.expects {
            Expects::Nothing => true,
            Expects::Number(number) => self.depth == 0 && number.is_whole(),
            _ => false,
        };
        if is_over && self.utf8.is_whole() { Ok(()) } else { Err(Broken) }
    }

    fn step(&mut self, byte: u8, piece: &mut Piece<'_>) -> Result<(), Broken> {
        match self.expects {
            Expects::Text(of) => return self.text(of, piece),
            Expects::Escape(of) => self.escape(of, byte)?,
            Expects::Hex(of, left) => self.hex(of, left, byte)?,
            Expects::Word(rest) => {
                let (first, rest) = rest.split_first().ok_or(Broken)?;
                if byte != *first {
                    return Err(Broken);
                }
                self.expects = Expects::Word(rest);
                if rest.is_empty() {
                    self.ends(piece, 1);
                    return Ok(());
                }
            }
            Expects::Number(number) => match number.then(byte) {
                Some(number) => self.expects = Expects::Number(number),
                // The byte is the next one's.
                None if number.is_whole() => {
                    self.ends(piece, 0);
                    return Ok(());
                }
                None => return Err(Broken),
            },
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            _ => return self.token(byte, piece),
        }
        piece.at += 1;
        Ok(())
    }

    /// What stands between values, and how a value begins.
    fn token(&mut self, byte: u8, piece: &mut Piece<'_>) -> Result<(), Broken> {
        match (self.expects, byte) {
            (Expects::ValueOrEnd, b']') | (Expects::KeyOrEnd, b'}') => {
                self.closes(piece);
                return Ok(());
            }
            (Expects::CommaOrEnd, b']' | b'}') if (byte == b'}') == self.is_in_object() => {
                self.closes(piece);
                return Ok(());
            }
            (Expects::Value | Expects::ValueOrEnd, _) => return self.begins(byte, piece),
            (Expects::Key | Expects::KeyOrEnd, b'"') => {
                self.name.clear();
                self.expects = Expects::Text(Of::Key);
            }
            (Expects::Colon, b':') => self.expects = Expects::Value,
            (Expects::CommaOrEnd, b',') => {
                self.expects = if self.is_in_object() { Expects::Key } else { Expects::Value };
            }
            _ => return Err(Broken),
        }
        piece.at += 1;
        Ok(())
    }

    fn begins(&mut self, byte: u8, piece: &mut Piece<'_>) -> Result<(), Broken> {
        let expects = match byte {
            b'{' => Expects::KeyOrEnd,
            b'[' => Expects::ValueOrEnd,
            b'"' => Expects::Text(Of::Value),
            b't' => Expects::Word(b"rue"),
            b'f' => Expects::Word(b"alse"),
            b'n' => Expects::Word(b"ull"),
            b'-' => Expects::Number(Number::Minus),
            b'0' => Expects::Number(Number::Zero),
            b'1'..=b'9' => Expects::Number(Number::Whole),
            _ => return Err(Broken),
        };
        if std::mem::take(&mut self.is_next_hidden) {
            piece.out.extend_from_slice(&piece.bytes[piece.from..piece.at]);
            piece.out.extend_from_slice(MASK);
            self.hidden_at = Some(self.depth);
        }
        if matches!(byte, b'{' | b'[') {
            if self.depth == DEPTH_MAX {
                return Err(Broken);
            }
            self.depth += 1;
            self.kinds = self.kinds << 1 | u128::from(byte == b'{');
        }
        self.expects = expects;
        piece.at += 1;
        Ok(())
    }

    fn closes(&mut self, piece: &mut Piece<'_>) {
        self.depth -= 1;
        self.kinds >>= 1;
        self.ends(piece, 1);
    }

    /// A value is over; `taken` bytes of what is read now were its own.
    fn ends(&mut self, piece: &mut Piece<'_>, taken: usize) {
        piece.at += taken;
        self.expects = if self.depth == 0 { Expects::Nothing } else { Expects::CommaOrEnd };
        if self.hidden_at == Some(self.depth) {
            self.hidden_at = None;
            piece.from = piece.at;
        }
    }

    const fn is_in_object(&self) -> bool {
        self.kinds & 1 == 1
    }

    /// Everything up to the next byte that means something.
    fn text(&mut self, of: Of, piece: &mut Piece<'_>) -> Result<(), Broken> {
        let rest = &piece.bytes[piece.at..];
        let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let (plain, rest) = rest.split_at(length);
        if plain.iter().any(|byte| *byte < b' ') {
            return Err(Broken);
        }
        if of == Of::Key {
            self.name.plain(plain);
        }
        piece.at += length;
        match rest.first() {
            None => return Ok(()),
            Some(b'\\') => self.expects = Expects::Escape(of),
            Some(_) if of == Of::Value => {
                self.ends(piece, 1);
                return Ok(());
            }
            Some(_) => {
                self.is_next_hidden = self.hidden_at.is_none() && self.names.contain(&self.name);
                self.expects = Expects::Colon;
            }
        }
        piece.at += 1;
        Ok(())
    }

    fn escape(&mut self, of: Of, byte: u8) -> Result<(), Broken> {
        let meant = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.expects = Expects::Hex(of, 4);
                return Ok(());
            }
            _ => return Err(Broken),
        };
        if of == Of::Key {
            self.name.plain(&[meant]);
        }
        self.expects = Expects::Text(of);
        Ok(())
    }

    fn hex(&mut self, of: Of, left: u8, byte: u8) -> Result<(), Broken> {
        let digit = char::from(byte).to_digit(16).ok_or(Broken)?;
        if of == Of::Key {
            self.name.digit(digit);
        }
        self.expects = if left == 1 { Expects::Text(of) } else { Expects::Hex(of, left - 1) };
        if left == 1 && of == Of::Key {
            self.name.escaped();
        }
        Ok(())
    }
}

/// Whether bytes are UTF-8, wherever they are cut.
#[derive(Debug, Default)]
struct Utf8 {
    /// The beginning of a character whose end has not come yet.
    begun: [u8; 4],
    length: usize,
}

impl Utf8 {
    fn check(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while self.length > 0
            && let Some((&first, rest)) = bytes.split_first()
        {
            self.begun[self.length] = first;
            self.length += 1;
            bytes = rest;
            match std::str::from_utf8(&self.begun[..self.length]) {
                Ok(_) => self.length = 0,
                // Four bytes are always whole or wrong.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Broken),
            }
        }
        let Err(error) = std::str::from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Broken);
        }
        let begun = &bytes[error.valid_up_to()..];
        self.begun[..begun.len()].copy_from_slice(begun);
        self.length = begun.len();
        Ok(())
    }

    const fn is_whole(&self) -> bool {
        self.length == 0
    }
}

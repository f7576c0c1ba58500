//! A text as a QR code, in two forms: a small PNG for answers, and SVG for pages.
//!
//! Law: nothing is fetched and nothing is written: the seed is in it.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use qrcode::render::svg;
use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

use crate::base::Secret;
use crate::store::Error;

/// Pixels of one module's side.
const SCALE: usize = 6;
/// Modules of white around it, as readers want it.
const QUIET: usize = 4;

/// A QR code as pictures.
#[derive(Debug)]
pub struct Picture {
    pub png: Secret<Vec<u8>>,
    pub svg: Secret<String>,
}

/// Draws a text of a few hundred bytes.
///
/// # Errors
/// [`Error::Broken`] for one that no QR code can hold.
pub(super) fn picture(text: &str) -> Result<Picture, Error> {
    let broken = |cause: String| Error::Broken { cause };
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| broken(format!("a seed does not fit into a QR code: {error}")))?;
    let png = png(&code).map_err(|error| broken(format!("a QR code cannot be packed: {error}")))?;
    let svg = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok(Picture { png: Secret::new(png), svg: Secret::new(svg) })
}

/// One bit per pixel, black on white (PNG, third edition: sections 5 and 11).
fn png(code: &QrCode) -> std::io::Result<Vec<u8>> {
    let modules = code.width() + 2 * QUIET;
    let side = modules * SCALE;
    let colors = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < code.width());
        let at = inside(x).zip(inside(y)).map(|(x, y)| y * code.width() + x);
        at.is_some_and(|at| colors.get(at) == Some(&Color::Dark))
    };
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    for y in 0..modules {
        // No filter, then pixels from the highest bit down; 1 is white.
        let mut row = vec![0u8; 1 + side.div_ceil(8)];
        for x in (0..side).filter(|x| !is_dark(x / SCALE, y)) {
            row[1 + x / 8] |= 0x80 >> (x % 8);
        }
        for _ in 0..SCALE {
            packed.write_all(&row)?;
        }
    }
    let side = u32::try_from(side).map_err(std::io::Error::other)?.to_be_bytes();
    let header = [&side[..], &side[..], &[1, 0, 0, 0, 0]].concat();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, *b"IHDR", &header)?;
    chunk(&mut out, *b"IDAT", &packed.finish()?)?;
    chunk(&mut out, *b"IEND", &[])?;
    Ok(out)
}

fn chunk(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    let mut crc = Crc::new();
    crc.update(&name);
    crc.update(content);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&name);
    out.extend_from_slice(content);
    out.extend_from_slice(&crc.sum().to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    #[test]
    fn the_picture_is_a_png_of_the_modules_and_an_svg() {
        let text = "otpauth://totp/Tenxyte:carol2%40example.com?secret=DZ27CRRZ6MMTHI4SMKKYALD6OIPVFLKO&issuer=Tenxyte";
        let picture = picture(text).unwrap();
        let png = picture.png.expose();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&png[12..16], b"IHDR");
        let side = u32::from_be_bytes(png[16..20].try_into().unwrap());
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        assert_eq!(side as usize, (code.width() + 2 * QUIET) * SCALE);
        assert_eq!(&png[33 + 4..33 + 8], b"IDAT");
        let length = u32::from_be_bytes(png[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        ZlibDecoder::new(&png[41..41 + length]).read_to_end(&mut rows).unwrap();
        let row = 1 + (side as usize).div_ceil(8);
        assert_eq!(rows.len(), row * side as usize);
        let is_white = |x: usize, y: usize| rows[y * row + 1 + x / 8] & (0x80 >> (x % 8)) != 0;
        assert!(is_white(0, 0), "white around it");
        let corner = QUIET * SCALE;
        assert!(!is_white(corner, corner), "and black at the corner of a finder");
        assert!(is_white(corner + SCALE, corner + SCALE));
        assert!(png.len() < 2000, "{}", png.len());
        let svg = picture.svg.expose();
        assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>"));
        assert!(!format!("{picture:?}").contains("svg "));
    }

    #[test]
    fn what_fits_into_no_code_is_refused() {
        assert!(picture(&"x".repeat(5000)).is_err());
    }
}

//! What pictures are drawn with: text, lines and scales as SVG. Colours are names that the page around
//! the picture, or the picture itself, defines.

use std::fmt::Write as _;

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// Text at a place; `anchor` is SVG's.
pub fn text(out: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = escape(what);
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
    );
}

/// A line in one of the page's colours.
pub fn line(out: &mut String, from: (f64, f64), to: (f64, f64), color: &str, more: &str) {
    let _ = write!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"var(--{color})\" {more}/>",
        from.0, from.1, to.0, to.1
    );
}

/// The next of 1, 2, 5, 10 … that is not under `value`.
pub fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps
        .iter()
        .map(|step| step * decade)
        .find(|at| *at >= value);
    fits.unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        let rounded: Vec<f64> = [0.3, 1.0, 3.0, 51.0, 1_001.0].map(round_up).into();
        assert_eq!(rounded, [1.0, 1.0, 5.0, 100.0, 2_000.0]);
    }
}

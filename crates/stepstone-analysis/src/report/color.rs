//! Colours of a difference: ColorBrewer's RdBu, interpolated in OKLab, with a text colour that can be read on it.
//!
//! Sources: ColorBrewer (Brewer and Harrower), OKLab (Ottosson 2020), contrast by WCAG 2.2.

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rgb(pub(crate) [u8; 3]);

/// RdBu from the largest loss (red) to the largest gain (blue).
// Red and blue differ for colour-blind readers too, which red and green do not.
const RD_BU: [u32; 11] = [
    0x67_001f, 0xb2_182b, 0xd6_604d, 0xf4_a582, 0xfd_dbc7, 0xf7_f7f7, 0xd1_e5f0, 0x92_c5de, 0x43_93c3, 0x21_66ac,
    0x05_3061,
];

/// The colour of `delta` on a scale that is symmetric about 0 and ends at `limit` > 0 on both sides.
pub(crate) fn diverging(delta: f64, limit: f64) -> Rgb {
    // Eleven stops: five on each side of the middle one.
    let place = (delta / limit).clamp(-1.0, 1.0).mul_add(5.0, 5.0);
    let lower = (place.floor() as usize).min(RD_BU.len() - 2);
    // In OKLab equal steps look equally large, which they do not in sRGB.
    let (a, b) = (oklab(rgb(RD_BU[lower])), oklab(rgb(RD_BU[lower + 1])));
    let share = place - lower as f64;
    from_oklab(std::array::from_fn(|i| a[i] + share * (b[i] - a[i])))
}

fn rgb(hex: u32) -> Rgb {
    Rgb([(hex >> 16) as u8, (hex >> 8) as u8, hex as u8])
}

impl Rgb {
    /// `#rrggbb`.
    pub(crate) fn hex(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// True if black text has more contrast on this colour than white text. The better of the two has at least
    /// 4.58 : 1 on every colour.
    pub(crate) fn takes_black(self) -> bool {
        let luminance = self.luminance();
        // Contrast of black text against contrast of white text, by WCAG's formula.
        (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05)
    }

    /// The nearest of the 6 x 6 x 6 cube and the grey ramp of 256-colour terminals.
    pub(crate) fn ansi256(self) -> u8 {
        const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
        let nearest = |value: u8| (0..6).min_by_key(|&i| STEPS[i].abs_diff(value)).unwrap_or(0);
        let cube = self.0.map(nearest);
        let grey_level = self.0.iter().map(|&v| u32::from(v)).sum::<u32>() / 3;
        // The grey ramp has 24 steps of 10 from 8 to 238; 3 centres the rounding.
        let grey = (grey_level.saturating_sub(3) / 10).min(23) as u8;
        let distance =
            |other: [u8; 3]| -> u32 { self.0.iter().zip(other).map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
        if distance([8 + 10 * grey; 3]) < distance(cube.map(|i| STEPS[i])) {
            232 + grey
        } else {
            (16 + 36 * cube[0] + 6 * cube[1] + cube[2]) as u8
        }
    }

    /// WCAG's relative luminance.
    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

// The transfer curve of sRGB (IEC 61966-2-1); `gamma` is its inverse.
fn linear(value: u8) -> f64 {
    let value = f64::from(value) / 255.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn gamma(linear: f64) -> u8 {
    let value = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
    (255.0 * value.clamp(0.0, 1.0)).round() as u8
}

fn oklab(color: Rgb) -> [f64; 3] {
    let [r, g, b] = color.0.map(linear);
    let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
    let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
    let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
    [
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s,
    ]
}

fn from_oklab([lightness, a, b]: [f64; 3]) -> Rgb {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    Rgb([
        gamma(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        gamma(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        gamma(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_centred_and_ends_at_the_limit() {
        for (delta, want) in [
            (0.0, "#f7f7f7"),
            (5.0, "#053061"),
            (50.0, "#053061"),
            (-5.0, "#67001f"),
            (1.0, "#d1e5f0"),
            (-4.0, "#b2182b"),
            (0.5, "#e4eef4"), // midpoint of the two stops beside it, near the sRGB midpoint #e4eef3
        ] {
            assert_eq!(diverging(delta, 5.0).hex(), want, "{delta}");
        }
    }

    #[test]
    fn text_has_a_contrast_of_at_least_4_5_on_every_tile() {
        for step in -100..=100 {
            let color = diverging(f64::from(step), 100.0);
            let luminance = color.luminance();
            let contrast = if color.takes_black() { (luminance + 0.05) / 0.05 } else { 1.05 / (luminance + 0.05) };
            assert!(contrast >= 4.5, "{} has {contrast}", color.hex());
        }
    }

    #[test]
    fn terminals_get_the_nearest_of_256_colours() {
        for (color, want) in
            [([255, 0, 0], 196), ([0, 0, 0], 16), ([247, 247, 247], 231), ([238, 238, 238], 255), ([5, 48, 97], 23)]
        {
            assert_eq!(Rgb(color).ansi256(), want, "{color:?}");
        }
    }
}

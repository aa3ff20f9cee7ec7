//! Kubernetes quantities, as far as sizes need them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Bytes of a quantity such as `1.5Gi`, `2G`, `1e9` or `1500m`, rounded up; `None` if it is not one or above 2^63.
pub fn bytes(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (digits, suffix) = text.split_at_checked(split)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 {
        return None;
    }
    let (multiplier, divisor) = scale(suffix)?;
    let ten = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let value = mantissa.checked_mul(multiplier)?.div_ceil(ten.checked_mul(divisor)?);
    u64::try_from(value).ok().filter(|v| i64::try_from(*v).is_ok())
}

/// Multiplier and divisor of a suffix.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let position =
        |names: &[&str]| names.iter().position(|n| *n == suffix).and_then(|p| u32::try_from(p).ok());
    if let Some(power) = position(&BINARY) {
        return Some((1024_u128.checked_pow(power + 1)?, 1));
    }
    if let Some(power) = position(&DECIMAL) {
        return Some((1000_u128.checked_pow(power)?, 1));
    }
    match suffix {
        "m" => Some((1, 1000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, 1_000_000_000)),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_writes() {
        let cases = [
            ("0", Some(0)),
            ("1", Some(1)),
            ("1.5Gi", Some(1_610_612_736)),
            ("2G", Some(2_000_000_000)),
            ("1500m", Some(2)),
            ("1e9", Some(1_000_000_000)),
            ("1E3", Some(1000)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("8Ei", None),
            ("", None),
            (".", None),
            ("5 Gi", None),
            ("Gi", None),
            ("1.2.3", None),
            ("-1", None),
            ("99999999999999999999999999999999999999999Ei", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(&Quantity(text.into())), expected, "{text}");
        }
    }
}

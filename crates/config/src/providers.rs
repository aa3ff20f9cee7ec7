//! Variables of the environment in values: `${env:NAME}` where `config.providers=env` and `config.providers.env.class` is
//! Kafka's `EnvVarConfigProvider` (KIP-297, KIP-887). Of a variable that is not set the text stays as it is, as in Kafka.
//!
//! Other classes are not there, nor are parameters of this one: what names them has no effect, and a warning says so.

/// The only class that is there.
pub(super) const ENVIRONMENT: &str = "org.apache.kafka.common.config.provider.EnvVarConfigProvider";

/// Replaces each `${name:VARIABLE}` whose name is a provider's.
pub(super) fn resolve(
    text: &str,
    is_provider: impl Fn(&str) -> bool,
    environment: &[(String, String)],
) -> String {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        resolved.push_str(before);
        let known = after.split_once('}').and_then(|(inner, behind)| {
            let (_, variable) = inner.split_once(':').filter(|(name, _)| is_provider(name))?;
            // The last one is in force, as for a process.
            let (_, value) = environment.iter().rev().find(|(set, _)| set == variable)?;
            Some((value, behind))
        });
        match known {
            Some((value, behind)) => {
                resolved.push_str(value);
                rest = behind;
            }
            None => {
                resolved.push_str("${");
                rest = after;
            }
        }
    }
    resolved + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_where_a_provider_knows_them() {
        let environment = [("A", "one"), ("B", "${env:A}"), ("A", "two")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (text, expected) in [
            ("", ""),
            ("x://[${env:A}]:1,y://${env:A}:2", "x://[two]:1,y://two:2"),
            ("${env:B}", "${env:A}"),
            ("${env:C} ${env:A}", "${env:C} two"),
            ("${file:A} ${A} ${env:A", "${file:A} ${A} ${env:A"),
            ("${${env:A}}", "${two}"),
            ("$ { ${", "$ { ${"),
        ] {
            assert_eq!(resolve(text, |name| name == "env", &environment), expected, "{text}");
        }
    }
}

//! Functions by chance: another answer every time, also when a line is read again after a crash.

use tailwater_logql::template::{Call, CallResult, Function, IntegerType, Type, Value};

const COUNT: &[Type] = &[Type::Int];
/// Characters or bytes that are made at once.
const MAX_LENGTH: usize = 10_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("randAlphaNum", COUNT, |call| of_characters(call, |byte| byte.is_ascii_alphanumeric())),
    Function::new("randAlpha", COUNT, |call| of_characters(call, |byte| byte.is_ascii_alphabetic())),
    Function::new("randNumeric", COUNT, |call| of_characters(call, |byte| byte.is_ascii_digit())),
    Function::new("randAscii", COUNT, |call| of_characters(call, |byte| (b' '..=b'~').contains(&byte))),
    Function::new("randBytes", COUNT, |call| Ok(Value::text(data_encoding::BASE64.encode(&random_bytes(length(call))?)))),
    // From the first to before the second.
    Function::new("randInt", &[Type::Int, Type::Int], |call| {
        let (least, end) = (call.integer(0), call.integer(1));
        let span = end.checked_sub(least).and_then(|span| u64::try_from(span).ok()).filter(|span| *span > 0);
        let below = below(span.ok_or("randInt: the second number must be greater than the first")?)?;
        Ok(Value::Integer(least.wrapping_add(below.cast_signed()), IntegerType::Int))
    }),
    Function::new("shuffle", &[Type::String], |call| {
        let mut characters: Vec<char> = call.string(0).chars().collect();
        for last in (1..characters.len()).rev() {
            let other = usize::try_from(below(last as u64 + 1)?).unwrap_or(last);
            characters.swap(last, other);
        }
        Ok(Value::text(characters.into_iter().collect::<String>()))
    }),
    Function::new("uuidv4", &[], |_| {
        let mut bytes = random_bytes(16)?;
        (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
        let digits = data_encoding::HEXLOWER.encode(&bytes);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default().to_owned());
        Ok(Value::text(parts.join("-")))
    }),
];

fn length(call: &mut Call<'_, '_>) -> usize {
    usize::try_from(call.integer(0)).unwrap_or(0).min(MAX_LENGTH)
}

fn random_bytes(count: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A number below `bound`, each as likely as the others but for less than one in billions.
fn below(bound: u64) -> Result<u64, String> {
    let random = getrandom::u64().map_err(|error| error.to_string())?;
    Ok(u64::try_from((u128::from(random) * u128::from(bound)) >> 64).unwrap_or_default())
}

/// Characters of ASCII that are `wanted`, as many as the argument says.
fn of_characters<'v>(call: &mut Call<'_, 'v>, is_wanted: fn(u8) -> bool) -> CallResult<'v> {
    let wanted: Vec<u8> = (0..128).filter(|byte| is_wanted(*byte)).collect();
    let mut text = Vec::with_capacity(length(call));
    for _ in 0..length(call) {
        let index = usize::try_from(below(wanted.len() as u64)?).unwrap_or_default();
        text.push(wanted.get(index).copied().unwrap_or_default());
    }
    Ok(Value::text(text))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn what_chance_makes_has_its_form_and_differs() {
        let made = |template: &str| result(template, "abcdefghijklmnop").unwrap();
        let is_all = |text: &str, is_wanted: fn(char) -> bool| text.len() == 40 && text.chars().all(is_wanted);
        assert!(is_all(&made("{{ randAlphaNum 40 }}"), |c| c.is_ascii_alphanumeric()));
        assert!(is_all(&made("{{ randAlpha 40 }}"), |c| c.is_ascii_alphabetic()));
        assert!(is_all(&made("{{ randNumeric 40 }}"), |c| c.is_ascii_digit()));
        assert!(is_all(&made("{{ randAscii 40 }}"), |c| (' '..='~').contains(&c)));
        assert_eq!(made("{{ len (b64dec (randBytes 40)) }}"), "40");
        let uuid = made("{{ uuidv4 }}");
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert!(lengths == [8, 4, 4, 4, 12] && uuid.split('-').nth(2).unwrap().starts_with('4'), "{uuid}");
        assert_ne!(uuid, made("{{ uuidv4 }}"));
        let shuffled = made("{{ shuffle .v }}");
        let mut sorted: Vec<char> = shuffled.chars().collect();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq("abcdefghijklmnop".chars()) && shuffled != made("{{ shuffle .v }}"), "{shuffled}");
        let numbers: std::collections::BTreeSet<String> = (0..200).map(|_| made("{{ randInt -1 2 }}")).collect();
        assert!(numbers.iter().eq(["-1", "0", "1"]), "{numbers:?}");
        assert_eq!(made("{{ randInt 2 2 }}"), "abcdefghijklmnop", "nothing is in between");
    }
}

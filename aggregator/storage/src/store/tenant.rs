//! How a tenant's name becomes one part of a key, and back.
//!
//! Injective for every name, readable for usual ones: letters, digits and ``! - _ . ' ( )`` stand for themselves, `*` is `@` (stores
//! encode it, folders on some systems refuse it), every other byte is `=` with two hexadecimal digits. The empty name is `=`. The first byte
//! of a name that means something else at this place is written with its digits. A name of the longest length that
//! requests may use (150 of the characters above and `*`) stays within the 255 bytes of a file's name.

use crate::entry::TenantId;

/// Parts of keys beside tenants (`paths`), and what folders read as themselves.
const RESERVED: [&str; 5] = ["seg", "probe", "cluster.json", ".", ".."];

const ESCAPE: char = '=';
const EMPTY: &str = "=";
const ASTERISK: char = '@';

/// The part of a key for a tenant.
pub(super) fn tenant(tenant: &TenantId) -> String {
    let name = tenant.as_str();
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let is_reserved = RESERVED.contains(&name);
    let mut part = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'*' => part.push(ASTERISK),
            _ if stands_for_itself(byte) && !(is_reserved && at == 0) => part.push(char::from(byte)),
            _ => part.push_str(&format!("{ESCAPE}{byte:02x}")),
        }
    }
    part
}

fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!-_.'()".contains(&byte)
}

/// The tenant of a part of a key; `None` for what [`tenant`] never gives.
pub(super) fn tenant_of(part: &str) -> Option<TenantId> {
    let name = if part == EMPTY { Vec::new() } else { unescape(part.as_bytes())? };
    let found = TenantId::new(std::str::from_utf8(&name).ok()?);
    (tenant(&found) == part).then_some(found)
}

fn unescape(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'@' => name.push(b'*'),
            b'=' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                name.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = behind;
            }
            _ => name.push(byte),
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;
    use proptest::prelude::*;

    #[test]
    fn usual_names_stay_readable_and_no_name_is_taken_for_another_object() {
        for (name, part) in [
            ("fake", "fake"),
            ("a-b_c.d!(e)'f'", "a-b_c.d!(e)'f'"),
            ("a*b", "a@b"),
            ("", "="),
            ("seg", "=73eg"),
            ("probe", "=70robe"),
            ("cluster.json", "=63luster.json"),
            ("..", "=2e."),
            ("../x", "..=2fx"),
            ("segment", "segment"),
            ("ä=@", "=c3=a4=3d=40"),
        ] {
            assert_eq!(tenant(&TenantId::new(name)), part);
            assert_eq!(tenant_of(part), Some(TenantId::new(name)));
        }
        for part in ["", "seg", "probe", ".", "=7", "=zz", "=61", "=2A", "a/b", "a*", "=ff", "=+5"] {
            assert_eq!(tenant_of(part), None, "{part}");
        }
        let longest = "*".repeat(150);
        assert_eq!(tenant(&TenantId::new(&longest)).len(), 150);
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_stores_leave_its_part_as_it_is(name in any::<String>()) {
            let part = tenant(&TenantId::new(&name));
            prop_assert_eq!(tenant_of(&part), Some(TenantId::new(&name)));
            let path = Path::from(part.as_str());
            prop_assert_eq!(path.as_ref(), part.as_str());
            prop_assert!(!RESERVED.contains(&part.as_str()));
        }

        #[test]
        fn every_part_is_the_part_of_its_tenant(part in "[a-z=@*/.0-9]{0,12}") {
            if let Some(found) = tenant_of(&part) {
                prop_assert_eq!(tenant(&found), part);
            }
        }
    }
}

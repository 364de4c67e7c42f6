use super::*;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn days_later(now: Timestamp, days: i64) -> Timestamp {
    Timestamp::from_second(now.as_second() + days * DAY).unwrap()
}

const NOW: &str = "2026-05-06T07:08:09Z";

fn made() -> Material {
    Material::renewed(None, &names(&["hook.system.svc"]), at(NOW))
        .unwrap()
        .unwrap()
}

fn renewed(held: &Material, days: i64) -> Option<Material> {
    let now = days_later(at(NOW), days);
    Material::renewed(Some(held), &names(&["hook.system.svc"]), now).unwrap()
}

#[test]
fn it_is_made_once_and_renewed_before_it_expires() {
    let first = made();
    assert!(renewed(&first, 0).is_none());
    assert!(renewed(&first, 59).is_none());
    let second = renewed(&first, 61).unwrap();
    assert_ne!(second.certificate, first.certificate);
    assert_eq!(second.authorities, first.authorities);
    assert!(renewed(&second, 62).is_none());
    // A Secret gives back what it was given.
    let Held::Ours(read) = Held::read(Some(&second.data())) else {
        panic!("it is ours");
    };
    assert!(read == second);
}

#[test]
fn an_authority_is_renewed_and_the_one_before_trusted_until_it_expires() {
    let first = made();
    let second = renewed(&first, 3300).unwrap();
    assert_ne!(second.authority_key, first.authority_key);
    assert!(second.authorities.ends_with(&first.authorities));
    assert!(renewed(&second, 3301).is_none());
    let late = renewed(&first, 3700).unwrap();
    assert_eq!(late.authorities.matches("BEGIN").count(), 1);
    // Never more than two.
    let third = renewed(&second, 3300 + 3300).unwrap();
    assert_eq!(third.authorities.matches("BEGIN").count(), 2);
    let signed_before = second.authorities.strip_suffix(&first.authorities);
    assert!(third.authorities.ends_with(signed_before.unwrap()));
}

#[test]
fn other_names_want_another_certificate() {
    let first = made();
    let more = names(&["::1", "127.0.0.1", "hook.system.svc"]);
    let second = Material::renewed(Some(&first), &more, at(NOW))
        .unwrap()
        .unwrap();
    assert_eq!(second.authorities, first.authorities);
    assert!(
        Material::renewed(Some(&second), &more, at(NOW))
            .unwrap()
            .is_none()
    );
    assert!(
        Material::renewed(Some(&second), &names(&["x"]), at(NOW))
            .unwrap()
            .is_some()
    );
    assert!(Material::renewed(None, &names(&["ü"]), at(NOW)).is_err());
}

#[test]
fn what_is_damaged_is_made_again() {
    let (first, other) = (made(), made());
    let damage: [fn(&mut Material, &Material); 6] = [
        |held, _| held.key.clear(),
        |held, other| held.key.clone_from(&other.key),
        |held, _| held.certificate = "nothing".to_owned(),
        |held, other| {
            held.certificate.clone_from(&other.certificate);
            held.key.clone_from(&other.key);
        },
        |held, other| held.authority_key.clone_from(&other.authority_key),
        |held, _| held.authorities.truncate(100),
    ];
    for (number, damage) in damage.iter().enumerate() {
        let mut held = first.clone();
        damage(&mut held, &other);
        let again = renewed(&held, 0).unwrap_or_else(|| panic!("damage {number}"));
        assert!(renewed(&again, 0).is_none(), "damage {number}");
    }
}

#[test]
fn whose_secret_it_is() {
    assert!(matches!(Held::read(None), Held::Nothing));
    let data = |name: &str| BTreeMap::from([(name.to_owned(), ByteString(b"x".to_vec()))]);
    assert!(matches!(Held::read(Some(&data("other"))), Held::Nothing));
    assert!(matches!(Held::read(Some(&data("tls.crt"))), Held::Foreign));
    assert!(matches!(Held::read(Some(&data("ca.key"))), Held::Ours(_)));
}

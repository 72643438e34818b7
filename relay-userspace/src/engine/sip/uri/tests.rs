use super::*;

#[test]
fn debug_hides_the_user_part() {
    let uri = Uri::parse("sip:+14155550100@192.0.2.1:5070;user=phone").unwrap();
    assert_eq!(format!("{uri:?}"), "sip:…@192.0.2.1:5070");
    assert_eq!(format!("{:?}", Uri::parse("tel:+14155550100").unwrap()), "tel:…");
}

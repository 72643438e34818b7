use super::*;

#[test]
fn a_quoted_display_name_cannot_pose_as_the_uri() {
    let address = NameAddr::parse(r#""Smith <sip:+18005550100@bank.example>" <sip:evil@h>;tag=a:b"#).unwrap();
    assert_eq!(address.uri().user(), Some("evil"));
    assert_eq!(address.tag(), Some("a:b"));
}

//! Addresses of services in settings, as URLs or as `host:port`.

/// Host and port of a URL or an address, with the user before them if there is one.
///
/// ```
/// use gauged_plugin::service::authority;
///
/// assert_eq!(authority("http://localhost:8080/status?all"), "localhost:8080");
/// assert_eq!(authority("localhost:6379"), "localhost:6379");
/// ```
#[must_use]
pub fn authority(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Checks that a URL or an address in the settings has no user and password before its host. Call it in `configure`: names, labels,
/// grants and the log show an address. `remedy` is the end of the message: where to write them.
///
/// ```
/// use gauged_plugin::service::check_no_user;
///
/// let remedy = "write them into `username` and `password`";
/// let why = "must not have a user and a password before the host, where labels and the log show them; ".to_owned() + remedy;
/// assert_eq!(check_no_user("http://monitor:secret@db/status", remedy), Err(why));
/// assert_eq!(check_no_user("http://db/status", remedy), Ok(()));
/// ```
///
/// # Errors
///
/// It has a user. The message does not show it.
pub fn check_no_user(address: &str, remedy: &str) -> Result<(), String> {
    let authority = authority(address);
    // A password may have one of the characters that end the host: what is before it is no port then.
    let port = if authority.ends_with(']') { None } else { authority.rsplit_once(':') };
    let is_cut = port.is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit())) && address.contains('@');
    if authority.contains('@') || is_cut {
        let why = "must not have a user and a password before the host, where labels and the log show them; ";
        return Err([why, remedy].concat());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_found_before_the_host_only() {
        for with_user in [
            "http://a:b@c/d",
            "https://a@c:1?d",
            "HTTP://a:@c#d",
            "redis://:b@c:6379",
            "a:b@c:6379",
            "a%40:b@c",
            "http://a:b#1@c/",
            "a:b/1@c:6379",
            "a:b?@c:6379",
        ] {
            let why = check_no_user(with_user, "remove it").expect_err(with_user);
            assert!(why.ends_with("; remove it") && !why.contains(with_user), "{why}");
        }
        for without in [
            "http://c/a@b",
            "http://c:1/a@b",
            "http://[::1]/a@b",
            "http://[::1]:1/a@b",
            "http://c?a@b",
            "http://c#a@b",
            "c:1",
            "[::1]:1",
            "unix:/run/a@b.sock",
            "/srv/a@b",
            "",
        ] {
            assert_eq!(check_no_user(without, "remove it"), Ok(()), "{without}");
        }
    }
}

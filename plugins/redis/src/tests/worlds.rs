//! Servers that were reported to other agents. Each has its source, and the right values with their reason.

use super::*;

/// Databases with a further field: `subexpiry` since Redis 7.4, `keys_with_volatile_items` since Valkey 9, `expired` of Kvrocks,
/// and `cached_keys` of `KeyDB`. Reported in elastic/beats#52178, `oliver006/redis_exporter#1168` and
/// `RocksLabs/kvrocks_exporter#56`. Right: the fields by their names.
#[test]
fn databases_of_all_releases_are_measured() {
    for more in ["", ",subexpiry=0", ",keys_with_volatile_items=7", ",expired=9", ",cached_keys=3,subexpiry=1"] {
        let lines = format!(
            "# Keyspace\r\n# Last scan db time: Mon Feb  3 13:50:43 2025\r\ndb0:keys=1000,expires=200,avg_ttl=5000{more}\r\nused_percent: 0%\r\n"
        );
        let sample = sample_of(&lines);
        let database = |metric: &str| sample.get(&format!("redis.{metric}{{server=\"{ADDRESS}\",db=\"0\"}}")).cloned();
        let values = ["keys", "keys_expiring", "keys_average_ttl_seconds"].map(database);
        let expected = [Value::Natural(1000), Value::Natural(200), Value::Number(5.0)].map(Some);
        assert_eq!(values, expected, "{more}");
    }
}

/// Proxies do not know INFO: Envoy replies with an error, twemproxy closes the connection. Reported in envoyproxy/envoy#38517 and
/// twitter/twemproxy#460. Right: a failure with its reason, since none of the servers behind it is measured.
#[test]
fn proxy_without_info_is_a_failure() {
    let envoy =
        ScriptedConnection::new().expects(INFO).replies("-ERR unknown command 'info', with args beginning with: \r\n");
    let twemproxy = ScriptedConnection::new().expects(INFO).closes();
    for (connection, reason) in [(envoy, "error"), (twemproxy, "closed")] {
        assert_eq!(down(&mut redis([connection])).0, reason);
    }
}

/// Valkey has the release of Redis that it began with in `redis_version`. Reported in `oliver006/redis_exporter#1012`. Right: the
/// release of Redis, by which its other fields are named.
#[test]
fn version_is_that_of_redis() {
    let lines = "server_name:valkey\r\nvalkey_version:8.1.1\r\nvalkey_release_stage:ga\r\n";
    assert_eq!(sample_of(lines)[&key("version")], "7.0.15");
}

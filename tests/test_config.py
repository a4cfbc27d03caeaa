"""Every mistake in a configuration is told with its key, its line and what was probably meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tidegate.api import Config as ApiConfig
from tidegate.config import Config, load, parse, shown
from tidegate.core.errors import ConfigError
from tidegate.core.values import Secret
from tidegate.providers.openai import Config as OpenAIConfig
from tidegate.providers.openai import OpenAI

EXAMPLE = Path(__file__).parent.parent / "tidegate.example.yaml"

FULL = """\
api:       {host: 127.0.0.1, port: 8080, workers: 1, cors: []}
storage:   {data_dir: ./tidegate-data, database: null, valkey: null}
providers: {main: {type: openai, base_url: null, keys: ["env:OPENAI_API_KEY"], price: null}}
routes:    {fast: {targets: [{provider: main, model: M, weight: 1, order: 1}], timeout: 60s, cache: {}, guardrails: {}}}
"""


def told(text: str, **environment: str) -> str:
    """What is said about a configuration that cannot be used."""
    with pytest.raises(ConfigError) as wrong:
        parse(text, environment)
    return wrong.value.message


def settings_of(config: Config, name: str = "main") -> Any:
    return config.providers[name].settings


# --- what can be said


def test_the_example_of_the_guide_means_what_it_says() -> None:
    config = parse(FULL, {"OPENAI_API_KEY": "sk-1"})
    assert config.api == ApiConfig()
    assert config.providers["main"].plugin is OpenAI
    assert settings_of(config) == OpenAIConfig(keys=(Secret("sk-1", "env:OPENAI_API_KEY"),))
    route = config.routes["fast"]
    assert (route.timeout, route.targets[0].provider, route.targets[0].model) == (60.0, "main", "M")


def test_nothing_said_is_all_defaults_and_the_local_model() -> None:
    for text in ("", "\n", "# nothing\n", "null", "{}", "---\n"):
        config = parse(text, {})
        assert (config.api, config.routes) == (ApiConfig(), {})
        assert [(name, one.type) for name, one in config.providers.items()] == [("local", "local")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api:\n  trusted_proxies: [10.0.0.1/8]\n", "tidegate.yaml:2: api.trusted_proxies[0]: must be an address or a"),
        (
            "api: {trusted_proxies: [proxy]}",
            "api.trusted_proxies[0]: must be an address or a network such as 10.0.0.0/8",
        ),
        ("api: {tls: {key: a.pem}}", "api.tls.key: is of no use without api.tls.certificate"),
        ("api: {tls: {client_ca: a.pem}}", "api.tls.client_ca: is of no use without api.tls.certificate"),
        ("api: {tls: {minimum: TLSv1.1}}", "api.tls.minimum: cannot be 'TLSv1.1'; did you mean"),
        ("api: {max_connections: 0}", "api.max_connections: "),
    ],
)
def test_how_clients_connect_is_checked_before_anybody_does(text: str, words: str) -> None:
    assert words in told(text)


@pytest.mark.parametrize(
    "text", ["api:", "api: null", "api: {}", "api: {port: }", "api: {port: null, cors: null}", "providers:", "routes:"]
)
def test_a_key_with_nothing_after_it_leaves_the_default(text: str) -> None:
    assert parse(text, {}).api == ApiConfig()


def test_every_key_is_in_the_example_and_the_example_can_be_read() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    config = parse(text, dict.fromkeys(re.findall(r"env:(\w+)", text), "a-key"))
    assert isinstance(config, Config)
    for name in [*Config.__struct_fields__, *ApiConfig.__struct_fields__, *OpenAIConfig.__struct_fields__]:
        assert re.search(rf"^\s*{name}:", text, re.MULTILINE), name


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("api: {port: 0}", "port", 0),
        ("api: {max_body: 1MiB}", "max_body", 1_048_576),
        ("api: {max_body: 1000}", "max_body", 1000),
        ("api: {body_timeout: 250ms}", "body_timeout", 0.25),
        ("api: {body_timeout: 5}", "body_timeout", 5.0),
        ("api: {body_timeout: 1.5}", "body_timeout", 1.5),
        ("api: {cors: ['https://a.example', 'https://b.example']}", "cors", ("https://a.example", "https://b.example")),
        ("api: {cors: https://a.example}", "cors", ("https://a.example",)),
        ("api: {cors: '*'}", "cors", ("*",)),
        ("api: {host: '::1'}", "host", "::1"),
    ],
)
def test_values_are_written_as_people_write_them(text: str, field: str, value: object) -> None:
    assert getattr(parse(text, {}).api, field) == value


# --- env: and file:


@pytest.mark.parametrize(("text", "there"), [("off", False), ("on", True), ("{enabled: false}", False), ("", True)])
def test_what_can_be_off_is_so_in_one_word(text: str, there: bool) -> None:
    assert parse(f"console: {text}", {}).console.enabled is there


def test_values_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-from-a-file\n", encoding="utf-8")
    text = f"""\
api: {{port: "env:PORT", max_body: "env:SIZE", body_timeout: "env:WAIT"}}
providers: {{main: {{type: openai, base_url: "env:URL", keys: ["env:KEY", "file:{secret}"]}}}}
"""
    environment = {"PORT": "9000", "SIZE": "1MiB", "WAIT": "2s", "URL": "http://127.0.0.1:1/v1", "KEY": "sk-1"}
    config = parse(text, environment)
    assert (config.api.port, config.api.max_body, config.api.body_timeout) == (9000, 1_048_576, 2.0)
    settings = settings_of(config)
    assert settings.base_url == "http://127.0.0.1:1/v1"
    assert [(key.value, key.source) for key in settings.keys] == [
        ("sk-1", "env:KEY"),
        ("sk-from-a-file", f"file:{secret}"),
    ]
    assert "env:KEY" in shown(config)


@pytest.mark.parametrize("value", ["env:", "file:", "environment", "https://env:5", "env", "envy:A"])
def test_what_only_looks_like_a_reference_is_itself(value: str) -> None:
    assert settings_of(parse(f"providers: {{main: {{type: openai, base_url: '{value}'}}}}", {})).base_url == value


def test_a_key_that_stands_in_the_file_is_a_secret_all_the_same() -> None:
    (key,) = settings_of(parse("providers: {main: {type: openai, keys: sk-plain}}", {})).keys
    assert key.value == "sk-plain" and "sk-plain" not in repr(key)


@pytest.mark.parametrize(
    ("value", "environment", "message"),
    [
        ("env:NOT_SET", {}, "the environment variable NOT_SET is not set"),
        ("env:EMPTY", {"EMPTY": ""}, "is empty"),
        ("env:BLANK", {"BLANK": "  "}, "is empty"),
        ("file:/nowhere/at/all", {}, "the file /nowhere/at/all cannot be read"),
        ("file:/", {}, "the file / cannot be read"),
        ("", {}, "is empty"),
    ],
)
def test_a_key_that_is_not_there_is_named(value: str, environment: dict[str, str], message: str) -> None:
    said = told(f"providers:\n  main:\n    type: openai\n    keys:\n      - '{value}'\n", **environment)
    assert said.startswith("tidegate.yaml:5: providers.main.keys[0]: ")
    assert message in said


# --- what the environment overrides


def test_the_environment_goes_before_the_file() -> None:
    config = parse("api: {port: 1, host: 0.0.0.0}", {"TIDEGATE_API_PORT": "9000", "TIDEGATE_STORAGE_DATA_DIR": "/data"})
    assert (config.api.port, config.api.host, config.storage.data_dir) == (9000, "0.0.0.0", "/data")


@pytest.mark.parametrize("text", ["", "api:", "api: {}", "api: null", "storage: {data_dir: x}"])
def test_the_environment_needs_no_section_in_the_file(text: str) -> None:
    assert parse(text, {"TIDEGATE_API_PORT": "9000"}).api.port == 9000


@pytest.mark.parametrize(
    ("value", "read"),
    [("/var/lib/tidegate", "/var/lib/tidegate"), ("123", "123"), ("C:\\data", "C:\\data"), ("a: b", "a: b")],
)
def test_text_in_the_environment_is_text(value: str, read: str) -> None:
    assert parse("", {"TIDEGATE_STORAGE_DATA_DIR": value}).storage.data_dir == read


def test_sizes_durations_and_lists_in_the_environment() -> None:
    api = parse(
        "",
        {
            "TIDEGATE_API_MAX_BODY": "1MiB",
            "TIDEGATE_API_DRAIN": "5s",
            "TIDEGATE_API_CORS": "https://a.example, https://b.example",
        },
    ).api
    assert (api.max_body, api.drain, api.cors) == (1_048_576, 5.0, ("https://a.example", "https://b.example"))


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("TIDEGATE_API_PORT", "many", "api.port"),
        ("TIDEGATE_API_PORT", "70000", "api.port"),
        ("TIDEGATE_API_PORT", "[", "api.port"),
        ("TIDEGATE_API_PORT", "{a: b: c}", "api.port"),
        ("TIDEGATE_API_PORT", "!!python/object:os.system x", "api.port"),
        ("TIDEGATE_API_PORT", "a\tb: \x00", "api.port"),
        ("TIDEGATE_API_WORKERS", "0", "api.workers"),
        ("TIDEGATE_API_MAX_BODY", "32MB", "api.max_body"),
        ("TIDEGATE_API_DRAIN", "soon", "api.drain"),
    ],
)
def test_a_wrong_value_in_the_environment_is_told_by_the_name_of_its_variable(name: str, value: str, key: str) -> None:
    said = told("api: {port: 1}", **{name: value})
    assert name in said and key in said


@pytest.mark.parametrize("text", ["api: 5", "api: []", "api: text"])
def test_a_section_that_is_none_is_told_even_when_the_environment_has_a_part_of_it(text: str) -> None:
    assert told(text, TIDEGATE_API_PORT="1").startswith("tidegate.yaml:1: api: must be keys and values")


# --- what cannot be used


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # keys
        (
            "zzz: 1\n",
            "tidegate.yaml:1: zzz: no such key; there are: api, console, storage, vault, audit, auth, limits, ",
        ),
        ("\napi:\n  prot: 1\n", "tidegate.yaml:3: api.prot: no such key; did you mean 'port'?"),
        ("api: {host: a,\n  hots: b}", "tidegate.yaml:2: api.hots: no such key; did you mean 'host'?"),
        ("route: {}", "tidegate.yaml:1: route: no such key; did you mean 'routes'?"),
        (
            "routes:\n  fast:\n    targets: [{provider: local, model: m}]\n    time_out: 5s",
            "tidegate.yaml:4: routes.fast.time_out: no such key; did you mean 'timeout'?",
        ),
        (
            "routes:\n  fast:\n    targets:\n      - provider: local\n        modle: m",
            "tidegate.yaml:5: routes.fast.targets[0].modle: no such key; did you mean 'model'?",
        ),
        (
            "providers:\n  main:\n    type: openai\n    key: a",
            "tidegate.yaml:4: providers.main.key: no such key; did you mean 'keys'?",
        ),
        (
            "routes: {a: {targets: [{provider: local, model: m}], guardrails: {ttl: 5s}}}",
            "tidegate.yaml:1: routes.a.guardrails.ttl: no such key; there are: input, output",
        ),
        (
            "routes: {a: {targets: [{provider: local, model: m}], cache: {ttl: 0s}}}",
            "tidegate.yaml:1: routes.a.cache.ttl: must be longer than nothing",
        ),
        (
            "routes: {a: {targets: [{provider: local, model: m}], cache: {ttl: -5}}}",
            "tidegate.yaml:1: routes.a.cache.ttl: a duration such as",
        ),
        (
            "routes: {a: {targets: [{provider: local, model: m}], cache: {max_bytes: 0}}}",
            "tidegate.yaml:1: routes.a.cache.max_bytes: must be more than nothing",
        ),
        (
            "routes: {a: {targets: [{provider: local, model: m}], cache: {scope: everybody}}}",
            "tidegate.yaml:1: routes.a.cache.scope: cannot be 'everybody'; there are: key, team",
        ),
        ("api:\n  port: 1\n  host: a\n  port: 2", "tidegate.yaml:2: api.port: stands twice, again in line 4"),
        ("api: {}\nstorage: {}\napi: {}", "tidegate.yaml:1: api: stands twice, again in line 3"),
        ("1: a", "tidegate.yaml:1: 1: no such key"),
        # types
        ("api: 5", "tidegate.yaml:1: api: must be keys and values, not 5"),
        ("api:\n  - port", "tidegate.yaml:1: api: must be keys and values, not ['port']"),
        ("- api", "tidegate.yaml: must be keys and values, such as 'api: {port: 8080}'"),
        ("just text", "tidegate.yaml: must be keys and values, such as 'api: {port: 8080}'"),
        ("api:\n  port: many", "tidegate.yaml:2: api.port: expected 'int', got 'str'"),
        ("api:\n  port: 70000", "tidegate.yaml:2: api.port: expected 'int' <= 65535"),
        ("api:\n  port: -1", "tidegate.yaml:2: api.port: expected 'int' >= 0"),
        ("api:\n  port: 80.5", "tidegate.yaml:2: api.port: expected 'int', got 'float'"),
        ("api:\n  port: true", "tidegate.yaml:2: api.port: expected 'int', got 'bool'"),
        ("api:\n  port: [80]", "tidegate.yaml:2: api.port: expected 'int', got 'array'"),
        ("api:\n  host: 5", "tidegate.yaml:2: api.host: expected 'str', got 'int'"),
        ("api:\n  cors: [1]", "tidegate.yaml:2: api.cors[0]: expected 'str', got 'int'"),
        ("api:\n  workers: 0", "tidegate.yaml:2: api.workers: expected 'int' >= 1"),
        ("logs:\n  format: xml", "tidegate.yaml:2: logs.format: cannot be 'xml'; there are: auto, human, json"),
        ("storage:\n  data_dir: 2026-01-01", "tidegate.yaml:2: storage.data_dir: expected 'str', got 'date'"),
        ("upstream:\n  retry:\n    tries: 0", "tidegate.yaml:3: upstream.retry.tries: expected 'int' >= 1"),
        ("upstream:\n  retry:\n    tries: 100000", "tidegate.yaml:3: upstream.retry.tries: expected 'int' <= "),
        ("upstream:\n  retry:\n    base_s: -1", "tidegate.yaml:3: upstream.retry.base_s: expected 'float' >= 0"),
        # sizes and durations
        (
            "api:\n  max_body: 32MB",
            "tidegate.yaml:2: api.max_body: a size such as 64KiB, 32MiB or 1GiB is expected, not '32MB'",
        ),
        ("api:\n  max_body: -1", "tidegate.yaml:2: api.max_body: a size such as"),
        (
            "api:\n  drain: soon",
            "tidegate.yaml:2: api.drain: a duration such as 250ms, 60s, 5m or 1h is expected, not 'soon'",
        ),
        ("api:\n  drain: [5s]", "tidegate.yaml:2: api.drain: a duration such as"),
        ("api:\n  drain: .nan", "tidegate.yaml:2: api.drain: a duration such as"),
        ("api:\n  drain: .inf", "tidegate.yaml:2: api.drain: a duration such as"),
        # providers and routes
        ("providers: 5", "tidegate.yaml:1: providers: must be names and what each is"),
        ("providers: [a]", "tidegate.yaml:1: providers: must be names and what each is"),
        ("providers:\n  main: openai", "tidegate.yaml:2: providers.main: must be keys and values"),
        ("providers:\n  main:\n    keys: []", "tidegate.yaml:2: providers.main: needs a type; there are: openai"),
        ("providers:\n  main:\n    type: [a]", "providers.main: needs a type; there are: openai"),
        (
            "providers:\n  main:\n    type: opneai",
            "tidegate.yaml:3: providers.main.type: no provider 'opneai'; did you mean 'openai'?",
        ),
        (
            "providers:\n  main:\n    type: zzz",
            "tidegate.yaml:3: providers.main.type: no provider 'zzz'; there are: openai",
        ),
        (
            "providers:\n  main:\n    type: 'no.such:Thing'",
            "tidegate.yaml:3: providers.main.type: provider 'no.such:Thing'",
        ),
        ("providers:\n  main:\n    type: 'os.path:join'", "tidegate.yaml:3: providers.main.type: "),
        ("providers:\n  main:\n    type: 'os:'", "tidegate.yaml:3: providers.main.type: "),
        ("providers:\n  a/b:\n    type: openai", "tidegate.yaml:2: providers.a/b: a provider's name must not be empty"),
        ("providers:\n  '':\n    type: openai", "a provider's name must not be empty"),
        (
            "providers:\n  main:\n    type: openai\n    keys: [null]",
            "tidegate.yaml:4: providers.main.keys[0]: expected 'str', got 'null'",
        ),
        (
            "providers:\n  main:\n    type: openai\n    keys: [[a]]",
            "tidegate.yaml:4: providers.main.keys[0]: expected 'str'",
        ),
        ("routes: []", "tidegate.yaml:1: routes: "),
        ("routes:\n  fast: main", "tidegate.yaml:2: routes.fast: must be keys and values, not 'main'"),
        ("routes:\n  fast: {}", "tidegate.yaml:2: routes.fast.targets: needs at least one"),
        ("routes:\n  fast: {targets: []}", "tidegate.yaml:2: routes.fast.targets: needs at least one"),
        (
            "routes:\n  fast:\n    targets:\n      - provider: main",
            "tidegate.yaml:4: routes.fast.targets[0].model: is needed",
        ),
        (
            "routes:\n  fast:\n    targets: [{provider: main, model: ''}]",
            "tidegate.yaml:3: routes.fast.targets[0].model: expected 'str' of length >= 1",
        ),
        (
            "routes:\n  fast:\n    targets: [{provider: a, model: m, weight: -1}]",
            "tidegate.yaml:3: routes.fast.targets[0].weight: expected 'int' >= 0",
        ),
        (
            "storage:\n  database: mysql://x",
            "tidegate.yaml:2: storage.database: must be like postgresql://user:password@host:5432/name",
        ),
        (
            "api: {port: 9000}\nconsole:\n  port: 9000",
            "tidegate.yaml:3: console.port: 9000 is api.port, too; choose another, or leave it out",
        ),
        ("console: {port: 70000}", "tidegate.yaml:1: console.port: expected 'int' <= 65535"),
        ("console: sometimes", "tidegate.yaml:1: console: must be keys and values, not 'sometimes'"),
        # YAML
        ("api:\n  port: 1\n host: a", "tidegate.yaml:3: "),
        ("api:\n\tport: 1", "tidegate.yaml:2: "),
        ("api: {port: 1", "look at the indentation and colons there"),
        ("api: 'a", "look at the indentation and colons there"),
        ("api: {port: 1}\n---\napi: {port: 2}", "tidegate.yaml:2: "),
        ("api: *nobody", "tidegate.yaml:1: found undefined alias"),
        ("a: &a {b: *a}", "tidegate.yaml:1: a.b: refers to itself"),
        ("a: &a\n  - 1\n  - *a", "a[1]: refers to itself"),
        ("api: {port: !!python/object:os.system x}", "tidegate.yaml:1: api.port: cannot be read"),
        ("api: {port: !!int x}", "tidegate.yaml:1: api.port: cannot be read"),
        ("api: {port: !!timestamp x}", "tidegate.yaml:1: api.port: cannot be read"),
        ("api: {port: !!bool x}", "tidegate.yaml:1: api.port: cannot be read"),
        ("api: {host: \x00}", "tidegate.yaml: is not YAML"),
        ("[" * 10_000 + "]" * 10_000, "tidegate.yaml: is nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_its_line_its_key_and_what_was_meant(text: str, message: str) -> None:
    said = told(text)
    assert message in said, said
    assert "\n" not in said


@given(st.text(st.sampled_from("apistorge:{}[]&*!#|>-'\" \n\t0123,"), max_size=40) | st.text(max_size=20))
def test_any_text_is_a_configuration_or_a_mistake_that_is_told(text: str) -> None:
    try:
        parse(text, {})
    except ConfigError as wrong:
        assert wrong.message.startswith("tidegate.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text("ab:/", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)
KEYS = ["api", "storage", "upstream", "logs", "prices", "providers", "routes"]
INNER = ["port", "cors", "data_dir", "retry", "format", "main", "type", "keys", "targets", "timeout", "cache", "price"]


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        plain | st.dictionaries(st.sampled_from(INNER), plain | st.dictionaries(st.sampled_from(INNER), plain)),
    )
)
def test_any_values_are_a_configuration_or_a_mistake_that_is_told(tree: dict[str, Any]) -> None:
    try:
        config = parse(yaml.safe_dump(tree), {})
    except ConfigError:
        return
    shown(config)


# --- the file


def test_a_file_is_read_and_named_in_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("api: {port: 9000}\n", encoding="utf-8")
    assert load(path, {}).api.port == 9000
    assert load(None, {"TIDEGATE_CONFIG": str(path)}).api.port == 9000
    path.write_text("\nprot: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}:2: prot: no such key"):
        load(path, {})


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).api == ApiConfig()
    (tmp_path / "tidegate.yaml").write_text("api: {port: 9000}\n", encoding="utf-8")
    assert load(None, {}).api.port == 9000


@pytest.mark.parametrize("environment", [{}, {"TIDEGATE_CONFIG": "nowhere.yaml"}])
def test_a_file_that_was_named_must_be_there(environment: dict[str, str]) -> None:
    path = None if environment else Path("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read: No such file"):
        load(path, environment)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"api: {host: caf\xe9}\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(path, {})


# --- what is shown


def test_what_is_shown_has_no_secret_and_says_where_each_came_from(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-three", encoding="utf-8")
    keys = f"[sk-one, 'env:KEY', 'file:{secret}']"
    config = parse(f"providers: {{main: {{type: openai, keys: {keys}}}}}", {"KEY": "sk-two"})
    text = shown(config)
    assert not re.search("sk-(one|two|three)", text)
    assert "set in the configuration" in text and "env:KEY" in text and f"file:{secret}" in text
    for said in (repr(config), str(config)):
        assert not re.search("sk-(one|two|three)", said)


def test_what_is_shown_is_yaml_with_every_default() -> None:
    tree = yaml.safe_load(shown(parse(FULL, {"OPENAI_API_KEY": "sk-1"})))
    assert list(tree) == [*Config.__struct_fields__]
    assert tree["api"]["port"] == 8080
    assert tree["api"]["drain"] == "30s"
    (target,) = tree["routes"]["fast"]["targets"]
    assert {**target, "weight": 1, "order": 1} == target and (target["provider"], target["model"]) == ("main", "M")
    assert tree["providers"]["main"]["type"] == "openai"


def test_what_is_shown_can_be_read_again() -> None:
    config = parse(FULL.replace('["env:OPENAI_API_KEY"]', "[]") + "logs: {format: json}\n", {})
    assert shown(parse(shown(config), {})) == shown(config)

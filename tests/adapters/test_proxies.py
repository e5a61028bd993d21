"""Which proxy an URL gets, and what is said of one that cannot be used; the way itself through real proxies."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import re
import socket
from collections.abc import Mapping

import pytest

from capital_governor.adapters import logs, proxies
from capital_governor.adapters.dashboard import Dashboard
from capital_governor.adapters.heartbeat import Heartbeat
from capital_governor.adapters.notifier import Delivery, Retry, Sent
from capital_governor.adapters.proxies import ProxyUnusableError, Route, route_to
from capital_governor.adapters.telegram import Telegram
from capital_governor.wording.log_events import log_text
from tests.rigs.bot_api import CHAT, TOKEN, BotApi
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import Server, answer, http
from tests.rigs.relays import CERTIFICATE, NAME, Proxy

PROXY = "http://proxy.example:3128"
KEY = "CANARY-0123456789abcdef"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(proxies, "_told", set())


def proxied(url: str, **environ: str) -> str:
    """Return the proxy of a URL, "" for none."""
    route = route_to(url, environ)
    return "" if route.proxy is None else str(route.proxy.url)


def send(base_url: str) -> Delivery:
    async def once() -> Delivery:
        telegram = Telegram(TOKEN, CHAT, base_url, redact=str, deadline_seconds=PATIENCE_SECONDS)
        try:
            return await telegram.send("text")
        finally:
            await telegram.close()

    return asyncio.run(once())


def beat(url: str) -> str:
    async def once() -> str:
        heart = Heartbeat(url, lambda _: None, deadline_seconds=PATIENCE_SECONDS)
        heart.beat()
        await heart.flush()
        return heart.problem

    return asyncio.run(once())


def names_are_loopback(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name be one of this machine; return the list that gets each name that is looked up."""
    looked_up, real = list[str](), socket.getaddrinfo

    def look_up(host: str | bytes, port: int, *_: int, **__: int) -> object:
        looked_up.append(host if isinstance(host, str) else host.decode())
        return real("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return looked_up


# --- which proxy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://h/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://h/", {"https_proxy": PROXY}, PROXY),
        ("https://h/", {"HTTP_PROXY": PROXY}, ""),
        ("http://h/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://h/", {"HTTPS_PROXY": PROXY}, ""),
        ("http://h/", {"ALL_PROXY": PROXY}, PROXY),
        ("https://h/", {"all_proxy": PROXY}, PROXY),
        ("https://h/", {"ALL_PROXY": "http://other", "HTTPS_PROXY": PROXY}, PROXY),
        ("https://h/", {"HTTPS_PROXY": "http://other", "https_proxy": PROXY}, PROXY),
        ("https://h/", {"HTTPS_PROXY": PROXY, "https_proxy": ""}, ""),
        ("https://h/", {"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, PROXY),
        ("https://h/", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://h/", {"HTTPS_PROXY": f" {PROXY}/ "}, PROXY),
        ("https://h/", {"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
        ("https://h/", {}, ""),
    ],
)
def test_the_environment_names_the_proxy(url: str, environ: Mapping[str, str], proxy: str) -> None:
    """The variable of the URL's scheme counts before ALL_PROXY, and lower case before upper case, as with curl."""
    assert proxied(url, **environ) == proxy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "LocalHost."])
def test_loopback_has_no_proxy(host: str) -> None:
    """What stays on this machine goes there directly, even by a proxy that cannot be used."""
    for proxy in (PROXY, "socks4://nonsense"):
        assert route_to(f"http://{host}:8100/x", {"HTTP_PROXY": proxy, "ALL_PROXY": proxy}) == Route()


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ("*", "https://h/"),
        ("example.com", "https://example.com/"),
        ("example.com", "https://EXAMPLE.com./"),
        ("example.com", "https://api.example.com/"),
        (".example.com", "https://api.example.com/"),
        (".example.com", "https://example.com/"),
        ("*.example.com", "https://api.example.com/"),
        ("a.b, example.com ,c.d", "https://example.com/"),
        ("a.b example.com", "https://example.com/"),
        ("example.com:443", "https://example.com/"),
        ("example.com:8443", "https://example.com:8443/"),
        ("https://example.com", "https://example.com/"),
        ("10.0.0.0/8", "https://10.200.3.4/"),
        ("10.0.0.7/8", "https://10.200.3.4/"),
        ("10.1.2.3", "https://10.1.2.3/"),
        ("10.1.2.3:443", "https://10.1.2.3/"),
        ("fd00::/8", "https://[fd12::7]/"),
        ("fd12::7", "https://[fd12:0::7]/"),
        ("[fd12::7]", "https://[fd12::7]/"),
        ("[fd12::7]:443", "https://[fd12::7]/"),
        ("::1,fd00::/8", "https://[fd12::7]/"),
    ],
)
def test_no_proxy_lists_exceptions(entries: str, url: str) -> None:
    """Hosts with their subdomains, addresses and networks are reached directly; each entry may have a port."""
    assert proxied(url, ALL_PROXY=PROXY, NO_PROXY=entries) == ""
    assert proxied(url, ALL_PROXY=PROXY, no_proxy=entries) == ""


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ("", "https://h/"),
        ("example.com", "https://notexample.com/"),
        ("example.com", "https://example.com.org/"),
        ("example.com:80", "https://example.com/"),
        ("http://example.com", "https://example.com/"),
        ("10.0.0.0/8", "https://11.0.0.1/"),
        ("10.0.0.0/8", "https://10.example.com/"),
        ("::/0", "https://10.0.0.1/"),
        ("fd00::/8", "https://[fe80::1]/"),
        ("[fd12::7]:80", "https://[fd12::7]/"),
    ],
)
def test_all_else_goes_through_the_proxy(entries: str, url: str) -> None:
    """An entry excepts what it names and no more."""
    assert proxied(url, ALL_PROXY=PROXY, NO_PROXY=entries) == PROXY


@pytest.mark.parametrize(
    "entry", ["fd00::/200", "10.0.0.0/99", "[::1", "example.com:http", "a..b", "h:99999", "ex!ample"]
)
def test_an_exception_that_cannot_be_read_is_ignored_with_one_warning(
    entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named once, however often it is met, and the other entries count."""
    logs.configure(level="INFO", fmt="console", secrets=(), words=log_text)
    for _ in range(3):
        assert proxied("https://h/", ALL_PROXY=PROXY, NO_PROXY=f"{entry},other.example") == PROXY
        assert proxied("https://other.example/", ALL_PROXY=PROXY, NO_PROXY=f"{entry},other.example") == ""
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"WARNING [capital_governor] NO_PROXY: '{entry}' is no host, address or network, and is ignored" in said


# --- a proxy that cannot be used --------------------------------------------------------------------------------------

UNUSABLE = [
    ("http://", "HTTP_PROXY is not the URL of a proxy: write HTTP_PROXY=http://HOST:PORT"),
    (f"http://u:{KEY}@h:port", "HTTP_PROXY is not the URL of a proxy: write HTTP_PROXY=http://HOST:PORT"),
    (f"http://u:{KEY}@[::1", "HTTP_PROXY is not the URL of a proxy: write HTTP_PROXY=http://HOST:PORT"),
    (f"http://u:{KEY}@h h:1", "HTTP_PROXY is not the URL of a proxy: write HTTP_PROXY=http://HOST:PORT"),
    (f"http://u:{KEY}/@h:1", "HTTP_PROXY is not the URL of a proxy: write HTTP_PROXY=http://HOST:PORT"),
    (
        f"socks4://u:{KEY}@h:1080",
        (
            "HTTP_PROXY=socks4://h:1080 is a proxy of a kind that is not known here: "
            "use one of http://, https://, socks5:// or socks5h://"
        ),
    ),
    (
        f"socks5://u:{KEY}@h:1080",
        (
            r"HTTP_PROXY=socks5://h:1080 needs the package socksio: run PREFIX/bin/pip install 'httpx\[socks\]', "
            "or name an http:// proxy"
        ),
    ),
]


@pytest.mark.parametrize(("value", "says"), UNUSABLE)
def test_a_proxy_that_cannot_be_used_is_told_with_the_remedy(
    value: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Telegram and heartbeat say the same sentence, without the proxy's password, and may be tried again."""
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(ProxyUnusableError) as caught:
        route_to(f"http://{NAME}/")
    text = str(caught.value)
    assert re.fullmatch(says.replace("PREFIX", ".*"), text)
    assert send(f"http://{NAME}/bot") == Retry(text)
    assert beat(f"http://{NAME}/") == text
    assert KEY not in text + capsys.readouterr().err


def test_a_package_that_is_installed_later_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt looks again whether SOCKS is possible."""
    environ = {"ALL_PROXY": "socks5h://h:1080"}
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)
    with pytest.raises(ProxyUnusableError, match="socksio"):
        route_to("https://api.example/", environ)
    monkeypatch.setattr(proxies, "find_spec", lambda _: importlib.util.find_spec("httpx"))
    assert route_to("https://api.example/", environ).via == "the proxy socks5h://h:1080 of ALL_PROXY"


# --- the way itself ---------------------------------------------------------------------------------------------------


def test_both_that_go_outside_take_the_proxy(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that only the proxy knows is reached by Telegram and by the heartbeat, with user and password for it."""
    with Server(answer(http(b""))) as switch, Proxy(api) as one, Proxy(switch) as other:
        monkeypatch.setenv("HTTP_PROXY", one.url.replace("//", "//us%40r:p%23ss@"))
        assert send(f"http://{NAME}/bot") == Sent()
        assert one.asked == [f"POST http://{NAME}/bot{TOKEN}/sendMessage"]
        assert one.credentials == ["Basic " + base64.b64encode(b"us@r:p#ss").decode()]
        assert api.taken == ["text"]
        monkeypatch.setenv("HTTP_PROXY", other.url)
        assert beat(f"http://{NAME}/ping/{KEY}") == ""
        assert other.asked == [f"GET http://{NAME}/ping/{KEY}"]
        assert len(switch.heads) == 1


def test_https_goes_through_a_tunnel(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an https URL a proxy sees host and port alone, and the certificate is checked against SSL_CERT_FILE."""
    with Server(answer(http(b""))) as switch, Proxy(api, tls=True) as one, Proxy(switch, tls=True) as other:
        monkeypatch.setenv("HTTPS_PROXY", one.url)
        told = send(f"https://{NAME}/bot")
        assert isinstance(told, Retry)
        assert told.detail.startswith(
            f"TLS failed with the Bot API at {NAME} through the proxy {one.url} of HTTPS_PROXY: "
        )
        assert told.detail.endswith(
            "if you trust it, name the file with its authority's certificate (PEM) in SSL_CERT_FILE"
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert send(f"https://{NAME}/bot") == Sent()
        assert one.asked == [f"CONNECT {NAME}:443"] * 2
        monkeypatch.setenv("HTTPS_PROXY", other.url)
        assert beat(f"https://{NAME}/ping/{KEY}") == ""
        assert other.asked == [f"CONNECT {NAME}:443"]
    assert api.taken == ["text"]


def test_an_exception_is_reached_directly(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of NO_PROXY is looked up and asked without the proxy."""
    looked_up = names_are_loopback(monkeypatch)
    with Server(answer(http(b""))) as switch, Proxy(api) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "fd00::/8,.example.test")
        assert send(f"http://{NAME}:{api.port}/bot") == Sent()
        assert beat(f"http://{NAME}:{switch.port}/") == ""
        assert proxy.asked == []
    assert looked_up == [NAME, NAME]


def test_the_dashboard_is_asked_directly_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment gets the fleet's metrics, nor the token, on loopback or elsewhere."""
    names_are_loopback(monkeypatch)
    with Server(answer(http(b"{}"))) as server, Proxy(server) as proxy:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for url in (server.url, f"http://{NAME}:{server.port}"):
            assert asyncio.run(Dashboard(url, 60, 1_000, token=KEY).fetch()) == b"{}"
        assert (server.connections, proxy.connections) == (2, 0)


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        ("407 Proxy Authentication Required", "it wants a user and a password, as in http://USER:PASSWORD@HOST:PORT"),
        ("403 Forbidden", "see its log, or except the host with NO_PROXY"),
    ],
)
def test_what_the_proxy_refuses_is_the_proxys(
    api: BotApi, refusal: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that lets nobody through is told from a server that does, for both, and is tried again."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with Proxy(api, refuse=refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        sentence = f"the proxy {proxy.url} of HTTPS_PROXY answers {refusal}: {says}"
        assert send(f"https://{NAME}/bot") == Retry(sentence)
        assert beat(f"https://{NAME}/{KEY}") == sentence


def test_a_proxy_that_wants_a_password_says_so_for_plain_http_too(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the refusal comes as the server's own answer."""
    with Proxy(api, refuse="407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        sentence = f"the proxy {proxy.url} of HTTP_PROXY answers 407: it wants a user and a password"
        told = send(f"http://{NAME}/bot")
        assert isinstance(told, Retry)
        assert told.detail.startswith(sentence)
        assert beat(f"http://{NAME}/{KEY}").startswith(sentence)


def test_a_proxy_that_is_not_there_is_named(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the proxy that refuses the connection, and the sentence names it and its variable."""
    with Proxy(api) as proxy:
        pass
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    sentence = f"connection refused by the proxy {proxy.url} of ALL_PROXY"
    assert send(f"https://{NAME}/bot") == Retry(sentence)
    assert beat(f"https://{NAME}/{KEY}") == sentence

"""Rows in the shape of public click logs, drawn so that some fields decide the click; none of them is anybody's data."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zlib import crc32

_BEGIN = datetime(2017, 5, 6, tzinfo=UTC)
Rows = Iterator[list[str]]


def write_public(path: Path, name: str, n_rows: int, *, seed: int = 7) -> Path:
    """Write a log in the shape that the bundled schema `name` describes."""
    header, separator, rows = _SHAPES[name]
    lines = [header] if header else []
    lines += [separator.join(row) for row in rows(n_rows, random.Random(seed))]
    path.write_text("\n".join(lines) + "\n")
    return path


def _moments(n_rows: int) -> Iterator[datetime]:
    return (_BEGIN + timedelta(seconds=5 * 86_400 * row // n_rows) for row in range(n_rows))


def _clicked(draw: random.Random, logit: float) -> int:
    return int(draw.random() < 1 / (1 + math.exp(-logit)))


@lru_cache(maxsize=100_000)
def _effect(value: str, size: float) -> float:
    """Return the logit that a value adds: the same for the same value, of standard deviation `size`."""
    return random.Random(value).gauss(0, size)


def _hex(draw: random.Random, n_values: int, salt: int) -> str:
    return f"{crc32(f'{salt}/{int(n_values * draw.random() ** 2)}'.encode()):08x}"


def _criteo(n_rows: int, draw: random.Random) -> Rows:
    for _ in range(n_rows):
        numbers = [str(int(draw.expovariate(1) ** 3 * (place + 1))) for place in range(13)]
        numbers[1] = str(int(numbers[1]) - 2)
        codes = [_hex(draw, 3 if place == 8 else 10 + 5 * place, place) for place in range(26)]
        logit = (
            -1.5
            + 0.25 * math.log1p(int(numbers[5]))
            + sum(_effect(code, 0.4) for code in codes[:4])
        )
        filled = [value if draw.random() > 0.1 else "" for value in numbers + codes]
        yield [str(_clicked(draw, logit)), *filled]


_IPINYOU = (
    "click weekday hour bidid timestamp logtype ipinyouid useragent IP region city adexchange domain url urlid slotid slotwidth "
    "slotheight slotvisibility slotformat slotprice creative bidprice payprice keypage advertiser usertag"
)


def _ipinyou(n_rows: int, draw: random.Random) -> Rows:
    for number, moment in enumerate(_moments(n_rows)):
        domain, creative = f"d{int(30 * draw.random() ** 2):02d}", str(7300 + draw.randrange(6))
        tags = draw.sample([str(10_000 + 7 * tag) for tag in range(40)], draw.randrange(6))
        price = int(draw.expovariate(1 / 50))
        logit = (
            -2
            + _effect(domain, 0.5)
            + 0.01 * min(price, 150)
            + sum(_effect(tag, 0.6) for tag in tags)
        )
        click = _clicked(draw, logit)
        yield [
            str(click), str(moment.weekday()), f"{moment:%H}", f"{number:08x}{draw.getrandbits(96):024x}",
            f"{moment:%Y%m%d%H%M%S}{draw.randrange(1000):03d}", "1", f"U{draw.randrange(n_rows)}",
            draw.choice(['Mozilla/4.0 (compatible; MSIE 6.0; "Maxthon")', "Mozilla/5.0 (Windows NT 6.1; WOW64) Chrome/21.0"]),
            f"1.2.{draw.randrange(200)}.*", str(draw.randrange(30)), str(draw.randrange(90)), str(draw.randrange(1, 4)),
            domain, f"{draw.getrandbits(128):032x}", "null", f"slot_{draw.randrange(60)}",
            *draw.choice([("300", "250"), ("728", "90")]), draw.choice(["FirstView", "SecondView", "Na"]), "Fixed",
            str(price), creative, "300", str(min(300, price + draw.randrange(80))), f"k{creative}", "1458",
            ",".join(tags) or "null",
        ]  # fmt: skip


def _kdd2012(n_rows: int, draw: random.Random) -> Rows:
    for _ in range(n_rows):
        depth = draw.randrange(1, 4)
        position, ad = draw.randrange(1, depth + 1), int(40 * draw.random() ** 2)
        shown = 1 + int(draw.expovariate(1))
        logit = -2.2 - 0.5 * (position - 1) + _effect(f"ad{ad}", 0.8)
        clicks = sum(_clicked(draw, logit) for _ in range(shown))
        names = [str(draw.randrange(1, n_values)) for n_values in (900, 400, 500, 500)]
        user = "0" if draw.random() < 0.3 else str(draw.randrange(1, 5000))
        url = str(2**62 + ad // 3)
        yield [
            str(clicks),
            str(shown),
            url,
            str(20_000_000 + ad),
            str(ad // 4),
            str(depth),
            str(position),
            *names,
            user,
        ]


def _talkingdata(n_rows: int, draw: random.Random) -> Rows:
    for moment in _moments(n_rows):
        app, channel = int(30 * draw.random() ** 2), int(40 * draw.random() ** 2)
        done = _clicked(draw, -2.5 + _effect(f"app{app}", 1.0) + _effect(f"ch{channel}", 0.5))
        later = moment + timedelta(seconds=draw.randrange(60, 9000))
        yield [
            str(draw.randrange(3000)), str(app), str(draw.randrange(3)), str(draw.randrange(40)), str(channel),
            f"{moment:%Y-%m-%d %H:%M:%S}", f"{later:%Y-%m-%d %H:%M:%S}" if done else "", str(done),
        ]  # fmt: skip


def _taobao(n_rows: int, draw: random.Random) -> Rows:
    rows = []
    for moment in _moments(n_rows):
        ad, pid = int(60 * draw.random() ** 2), draw.choice(["430548_1007", "430539_1007"])
        click = _clicked(draw, -2 + _effect(f"ad{ad}", 0.9))
        rows.append(
            [
                str(draw.randrange(4000)),
                f"{moment.timestamp():.0f}",
                str(ad),
                pid,
                str(1 - click),
                str(click),
            ]
        )
    draw.shuffle(rows)
    yield from rows


_SHAPES: dict[str, tuple[str, str, Callable[[int, random.Random], Rows]]] = {
    "criteo": ("", "\t", _criteo),
    "ipinyou": (_IPINYOU.replace(" ", "\t"), "\t", _ipinyou),
    "kdd2012": ("", "\t", _kdd2012),
    "talkingdata": (
        "ip,app,device,os,channel,click_time,attributed_time,is_attributed",
        ",",
        _talkingdata,
    ),
    "taobao": ("user,time_stamp,adgroup_id,pid,nonclk,clk", ",", _taobao),
}
PUBLIC = tuple(_SHAPES)

"""Whatever stands in a file as a hash, a check of a password gives a verdict and no traceback."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.secrets import Secret
from console.core.users.htpasswd import Line
from console.core.users.verify import Verdict, verdict

# As the forms in htpasswd.py, with as few rounds as can be.
FORMS = (
    rb"\$2[abxy]?\$04\$[./A-Za-z0-9]{53}", rb"\$apr1\$[^$]{0,8}\$[./A-Za-z0-9]{22}",
    rb"\{SHA\}[+/=A-Za-z0-9]{1,40}", rb"\{SSHA\}[+/=A-Za-z0-9]{1,60}", rb"\{PLAIN\}[^\n]{1,20}",
    rb"\$1\$[^$]{0,8}\$[./A-Za-z0-9]{22}", rb"[./A-Za-z0-9]{13}",
    rb"\$5\$(?:rounds=0?[0-9]{1,4}\$)?[^$]{0,16}\$[./A-Za-z0-9]{43}",
    rb"\$6\$(?:rounds=0?[0-9]{1,4}\$)?[^$]{0,16}\$[./A-Za-z0-9]{86}",
)  # fmt: skip


@settings(deadline=None)
@given(
    st.one_of(*(st.from_regex(form, fullmatch=True) for form in FORMS), st.binary(max_size=40)),
    st.text(max_size=80),
)
def test_no_hash_breaks_a_check(field: bytes, password: str) -> None:
    found = verdict(Line(b"ada:" + field, b"ada", field), Secret(password))
    assert found in (Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN)


@pytest.mark.parametrize("password", ["", "x\0y", "x" * 5_000, "\ud800", "é" * 40])
@pytest.mark.parametrize(
    "field",
    [
        b"$2y$04$" + b"a" * 53, b"$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", b"{SHA}W6ph5Mm5Pz8=",
        b"$5$rounds=1000$salt$" + b"x" * 43, b"$6$salt$" + b"x" * 86, b"rqXexS6ZhobKA",
        b"$1$abc$" + b"x" * 22, b"{PLAIN}secret", b"$y$j9T$salt$" + b"x" * 43, b"rubbish",
    ],
)  # fmt: skip
def test_no_password_breaks_a_check(field: bytes, password: str) -> None:
    found = verdict(Line(b"ada:" + field, b"ada", field), Secret(password))
    assert found in (Verdict.WRONG, Verdict.UNKNOWN)

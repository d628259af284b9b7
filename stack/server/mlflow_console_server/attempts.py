"""How often an address may have a password checked, so that guessing takes for ever."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Checks that an address may have at once, and how many come back each second; the same as
#: nginx's ``limit_req`` has in the shipped stack.
AT_ONCE = 20
A_SECOND = 1.0

#: Addresses that are remembered. Whoever has more than that has other ways.
ADDRESSES = 4096


class Attempts:
    """Counts the checks of passwords by address: a bucket of tokens for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nobody.

        Args:
            clock: Gives the time in seconds.
        """
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> bool:
        """Say whether an address may have one more password checked now, and count it if so.

        Args:
            address: Of the client.
        """
        now = self._clock()
        left, at = self._left.pop(address, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - at) * A_SECOND)
        may = left >= 1
        self._left[address] = (left - may, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return may

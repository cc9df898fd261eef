"""The intake: large requests take turns, small ones do not wait."""

from __future__ import annotations

import asyncio

import pytest

from napari_cellsam.errors import ServiceBusyError
from napari_cellsam.service.intake import Intake

MIB = 2**20


def test_a_large_request_waits_until_another_has_left():
    async def run():
        intake = Intake(10 * MIB, patience_s=60)
        seen = []

        async def come():
            async with intake.room_for(6 * MIB):
                seen.append("in")

        async with intake.room_for(6 * MIB):
            waiting = asyncio.ensure_future(come())
            await asyncio.sleep(0)
            async with intake.room_for(4 * MIB), intake.room_for(MIB):
                seen.append("others")
        await waiting
        assert seen == ["others", "in"]

    asyncio.run(run())


def test_who_waits_too_long_is_told_that_the_service_is_busy_and_takes_no_room():
    async def run():
        intake = Intake(10 * MIB, patience_s=0.01)
        async with intake.room_for(10 * MIB):
            with pytest.raises(ServiceBusyError, match=f"no room for {2 * MIB} bytes"):
                async with intake.room_for(2 * MIB):
                    pass
        async with intake.room_for(10 * MIB):
            pass

    asyncio.run(run())


def test_who_fails_or_goes_away_leaves_the_room_to_others():
    async def run():
        intake = Intake(10 * MIB, patience_s=60)
        with pytest.raises(ValueError, match="mine"):
            async with intake.room_for(10 * MIB):
                raise ValueError("mine")
        async with intake.room_for(10 * MIB):
            waiting = asyncio.ensure_future(intake.room_for(5 * MIB).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with intake.room_for(10 * MIB):
            pass

    asyncio.run(run())

"""How a run ended, in one line: everybody's answers, and what is booked."""

from __future__ import annotations

from lastseat.harness.run import Run


def ending(run: Run) -> str:
    """Equal for runs that nobody outside can tell apart by their result."""
    answers = ", ".join(
        f"{attempt.name} {attempt.answer or 'raised'}"
        for attempt in sorted(run.attempts, key=lambda attempt: attempt.name)
    )
    booked = "; ".join(
        f"{name}: {' '.join(f'{booking}={units}' for booking, units in reading.rows) or 'nothing'}"
        for name, reading in sorted(run.final_readings().items())
    )
    return f"{answers}; booked on {booked}"

"""A recording from the microphone (needs the extra "record")."""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.errors import UserError
from music_cuda.features import RATE, SECONDS, checked


def record(seconds: float = SECONDS) -> Array:
    """Record mono sound, float32 (samples,) at 22,050 Hz.

    Raises UserError without sounddevice, without a microphone, and for silence.
    """
    if not 1 <= seconds <= SECONDS:
        raise UserError(f"a recording takes 1 to {SECONDS} seconds, not {seconds:g}")
    try:
        import sounddevice
    except ImportError:
        raise UserError('recording needs sounddevice: pip install -e ".[record]"') from None
    except OSError as error:  # it is installed, but not the system's library that it calls
        raise UserError(f"recording needs PortAudio, the system's sound library ({error})") from None
    try:
        sound = sounddevice.rec(int(seconds * RATE), samplerate=RATE, channels=1, dtype="float32", blocking=True)
    except sounddevice.PortAudioError as error:
        raise UserError(f"cannot record: {error}") from None
    return checked(np.asarray(sound)[:, 0], "the recording")

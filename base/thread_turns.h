// How the system shares a core between this process's threads. Both are wishes: where the kernel
// does not know them or does not grant them nothing changes.
#pragma once

namespace quorate {

// For the calling thread, one that answers clients and works in short bursts: turns of 0.1 ms, so
// that it runs soon after it is woken even beside threads that compute (Linux 6.12 and later).
void AskForShortTurns();

// For the calling thread, one that nobody waits for: it gives way to all others, and still gets
// what they leave.
void GiveWay();

}  // namespace quorate

// Package process starts programs that end with us, and tells a process from
// another one that got the same number later.
package process

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Identity is a process for good: numbers are reused, but not together with the
// moment at which the process started.
type Identity struct {
	Pid     int
	Started string
}

// Identify returns the identity of a living process.
func Identify(pid int) (Identity, error) {
	started, err := startOf(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return Identity{pid, started}, nil
}

// ParseIdentity reads what String wrote.
func ParseIdentity(text string) (Identity, error) {
	number, started, ok := strings.Cut(text, " ")
	pid, err := strconv.Atoi(number)
	if !ok || err != nil || pid <= 1 || started == "" {
		return Identity{}, fmt.Errorf("%q is not a pid and a start time", text)
	}
	return Identity{pid, started}, nil
}

func (i Identity) String() string { return fmt.Sprintf("%d %s", i.Pid, i.Started) }

// Alive tells whether this very process still runs. A zombie doesn't.
func (i Identity) Alive() bool {
	started, err := startOf(i.Pid)
	return err == nil && started == i.Started
}

// End sends the signal, and SIGKILL to what outlasts the patience. It returns
// when the process is gone; one that is gone already is left alone.
func (i Identity) End(signal syscall.Signal, patience time.Duration) {
	for _, attempt := range []syscall.Signal{signal, syscall.SIGKILL} {
		if !i.Alive() || syscall.Kill(i.Pid, attempt) != nil {
			return
		}
		if Until(patience, func() bool { return !i.Alive() }) {
			return
		}
	}
}

// Until polls a condition until it holds or the time is up, and tells which.
func Until(limit time.Duration, holds func() bool) bool {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if holds() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}

//go:build !linux

package process

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// startOf asks ps, which every Unix has, and which tells the start to a second.
func startOf(pid int) (string, error) {
	command := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid))
	command.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	output, err := command.Output()
	if err != nil {
		return "", os.ErrProcessDone
	}
	state, started, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	if strings.HasPrefix(state, "Z") {
		return "", os.ErrProcessDone
	}
	return strings.ReplaceAll(strings.TrimSpace(started), " ", "-"), nil
}

// dieWithParent does nothing: elsewhere the tether alone sees to it.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// WorkingIn finds nothing: elsewhere orphaned backends end when they next look
// at their postmaster.
func WorkingIn(string) []Identity { return nil }

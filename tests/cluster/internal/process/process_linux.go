package process

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// startOf returns the ticks since boot at which the process started, field 22
// of /proc/PID/stat. The second field is the program's name in parentheses and
// may hold anything, so counting starts behind the last one.
func startOf(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", errors.New("unreadable /proc/PID/stat")
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", os.ErrProcessDone
	}
	return fields[19], nil
}

// dieWithParent has the kernel send the signal when the thread that started the
// process ends, whatever ended it.
func dieWithParent(attributes *syscall.SysProcAttr, signal syscall.Signal) {
	attributes.Pdeathsig = signal
}

// WorkingIn lists the processes with this working directory: the backends of a
// PostgreSQL whose postmaster was killed are nobody's children.
func WorkingIn(directory string) []Identity {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	var found []Identity
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != directory {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if identity, err := Identify(pid); err == nil {
			found = append(found, identity)
		}
	}
	return found
}

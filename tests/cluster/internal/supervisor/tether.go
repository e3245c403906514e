package supervisor

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"dunlin.dev/cluster/internal/folder"
)

// hold starts the tether: a process that waits for the other end of a pipe,
// which only we hold, to close. If we go without having cleaned up (nobody can
// catch SIGKILL), it does that in our place. The returned function lets go.
func hold(home *folder.Folder) (pid int, release func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, nil, err
	}
	command := exec.Command(self, "tether", "--dir", home.Path)
	// Out of our group, so that no Ctrl-C ends it, and without our stdout: whoever
	// reads that waits for every holder to close it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Dir = "/"
	pipe, err := command.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := command.Start(); err != nil {
		return 0, nil, fmt.Errorf("starting the tether: %w", err)
	}
	return command.Process.Pid, func() {
		_ = pipe.Close()
		_ = command.Wait()
	}, nil
}

// tether is the process on the other end.
func tether(arguments []string) error {
	flags := flag.NewFlagSet("cluster tether", flag.ContinueOnError)
	dir := flags.String("dir", "", "the run's folder")
	if err := parseFlags(flags, arguments); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	_, _ = io.Copy(io.Discard, os.Stdin)
	// The pipe closes a moment before the lock is free.
	return folder.DiscardAbandoned(*dir)
}

// sayWhenSlow says what is being waited for when it takes longer than a few
// seconds, until the returned function is called.
func sayWhenSlow(what, log string) func() {
	done := make(chan struct{})
	begun := time.Now()
	go func() {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(os.Stderr, "cluster: waiting for %s, %.0f s so far; its log is %s\n", what, time.Since(begun).Seconds(), log)
			}
		}
	}()
	return func() { close(done) }
}

// quoted returns the text as one word of a shell.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

var errNoRun = errors.New("no cluster runs there")

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Name string
	Path string
	Args []string
	Env  []string // the whole environment
	Dir  string
	Log  string // the file that stdout and stderr are appended to
	// User is whom to run as; nil for whoever we are.
	User *User
	// Orphaned is the signal that the process gets when we die.
	Orphaned syscall.Signal
}

// User is an account, and how to make files its own.
type User struct{ UID, GID int }

// Own gives files to the user; nil is whoever we are, who owns them already.
func (u *User) Own(paths ...string) error {
	for _, path := range paths {
		if u == nil {
			return nil
		}
		if err := os.Chown(path, u.UID, u.GID); err != nil {
			return err
		}
	}
	return nil
}

// Child is a started process.
type Child struct {
	Identity
	Name string
	Log  string
	done chan struct{}
	err  error
}

// Done is closed when the process has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err tells how an ended process ended; nil is exit code 0.
func (c *Child) Err() error {
	<-c.done
	return c.err
}

// Running tells whether the process hasn't ended yet.
func (c *Child) Running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Stop sends the signal, and SIGKILL to what outlasts the patience, and returns
// when the process has ended.
func (c *Child) Stop(signal syscall.Signal, patience time.Duration) {
	if !c.Running() {
		return
	}
	_ = syscall.Kill(c.Pid, signal)
	select {
	case <-c.done:
	case <-time.After(patience):
		_ = syscall.Kill(c.Pid, syscall.SIGKILL)
		<-c.done
	}
}

// starter returns the way to the one thread that starts everything. The kernel ties
// "die with the parent" to the parent's thread, and Go ends threads as it likes,
// so this one is locked and lives as long as we do.
var starter = sync.OnceValue(func() chan<- func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request()
		}
	}()
	return requests
})

// Start starts a process in a group of its own, so that a Ctrl-C at the terminal
// reaches us alone and what we started ends in order.
func Start(spec Spec) (*Child, error) {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(spec.Path, spec.Args...)
	command.Env, command.Dir = spec.Env, spec.Dir
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if spec.User != nil {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(spec.User.UID), Gid: uint32(spec.User.GID)}
	}
	dieWithParent(command.SysProcAttr, spec.Orphaned)

	started := make(chan error)
	starter() <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	// Nobody has waited for it yet, so the number is still its own, dead or alive.
	identity, err := Identify(command.Process.Pid)
	child := &Child{Identity: identity, Name: spec.Name, Log: spec.Log, done: make(chan struct{})}
	child.Pid = command.Process.Pid
	go func() {
		child.err = command.Wait()
		close(child.done)
	}()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		child.Stop(syscall.SIGKILL, 0)
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	return child, nil
}

// Tail returns the last lines of a log, indented, for a message about a failure.
func Tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "    (no log: " + err.Error() + ")"
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	all = all[max(0, len(all)-lines):]
	return "    " + strings.Join(all, "\n    ")
}

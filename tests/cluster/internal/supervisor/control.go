package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"dunlin.dev/cluster/internal/process"
)

// answerDeadline is longer than the longest start.
const answerDeadline = 4 * time.Minute

// request is what ctl asks of a running supervisor: processes must be started by
// it, since they end with whoever started them.
type request struct {
	Verb, Name, Mode string
	// These are for run: what to start, where, and with which environment.
	Command     []string `json:",omitempty"`
	Directory   string   `json:",omitempty"`
	Environment []string `json:",omitempty"`
}

// answer is one line of JSON, which ctl prints.
type answer struct {
	Pid   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

func socketIn(dir string) string { return filepath.Join(dir, "control") }

// listen serves ctl until the context ends.
func (r *run) listen(ctx context.Context) (net.Listener, error) {
	listener, err := net.Listen("unix", socketIn(r.folder.Path))
	if err != nil {
		return nil, fmt.Errorf("%w; if the path is too long for a socket, name a shorter one by --dir or TMPDIR", err)
	}
	// Only the owner may connect, or anybody could end the processes.
	if err := os.Chmod(socketIn(r.folder.Path), 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(ctx, connection)
		}
	}()
	return listener, nil
}

func (r *run) serve(ctx context.Context, connection net.Conn) {
	defer connection.Close()
	var asked request
	if json.NewDecoder(io.LimitReader(connection, 4<<20)).Decode(&asked) != nil {
		return
	}
	var answer answer
	pid, err := r.perform(ctx, asked)
	answer.Pid = pid
	if err != nil {
		answer.Error = err.Error()
	}
	_ = json.NewEncoder(connection).Encode(answer)
}

func (r *run) perform(ctx context.Context, asked request) (int, error) {
	switch asked.Verb {
	case "stop":
		return 0, r.components.stopOne(asked.Name, asked.Mode)
	case "start":
		return r.components.startOne(ctx, asked.Name)
	case "restart":
		if err := r.components.stopOne(asked.Name, asked.Mode); err != nil {
			return 0, err
		}
		return r.components.startOne(ctx, asked.Name)
	case "run":
		return r.runMore(ctx, asked)
	default:
		return 0, fmt.Errorf("no such verb %q; there are start, stop, restart and run", asked.Verb)
	}
}

// termPatience is for a guest to end by itself.
const termPatience = 10 * time.Second

// runMore starts a program of the caller's that is to end with the cluster, such
// as an operator. Its log is NAME.log in the cluster's folder.
func (r *run) runMore(ctx context.Context, asked request) (int, error) {
	if asked.Name == "" || asked.Name != filepath.Base(asked.Name) || len(asked.Command) == 0 {
		return 0, errors.New("want a name that can be a file's, and a command")
	}
	if _, err := r.components.get(asked.Name); err == nil {
		return 0, fmt.Errorf("%s is here already; start, stop and restart are for it", asked.Name)
	}
	start := func(context.Context) (*process.Child, error) {
		child, err := process.Start(process.Spec{
			Name: asked.Name, Path: asked.Command[0], Args: asked.Command[1:], Env: asked.Environment, Dir: asked.Directory,
			Log: r.folder.Join(asked.Name + ".log"), Orphaned: syscall.SIGTERM,
		})
		if err != nil {
			return nil, err
		}
		return child, r.folder.Register(child, syscall.SIGTERM)
	}
	stop := func(child *process.Child, mode string) error {
		signal := syscall.SIGTERM
		if mode == "kill" {
			signal = syscall.SIGKILL
		}
		child.Stop(signal, termPatience)
		return nil
	}
	if err := r.components.addGuest(ctx, asked.Name, start, stop); err != nil {
		return 0, err
	}
	return r.components.pids()[asked.Name], nil
}

// control is the command ctl.
func control(arguments []string) error {
	flags := flag.NewFlagSet("cluster ctl", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("dir", "", "the running cluster's `folder`")
	mode := flags.String("mode", "fast", "how to stop PostgreSQL: smart, fast, immediate, or kill (SIGKILL); kill is for all others too")
	if err := parseFlags(flags, arguments); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() < 2 || (flags.NArg() > 2) != (flags.Arg(0) == "run") {
		return misuse{errors.New("want cluster ctl --dir DIR [--mode MODE] start|stop|restart NAME, or ctl --dir DIR run NAME COMMAND...")}
	}
	asked := request{Verb: flags.Arg(0), Name: flags.Arg(1), Mode: *mode}
	if asked.Verb == "run" {
		var err error
		if asked.Directory, err = os.Getwd(); err != nil {
			return err
		}
		asked.Environment, asked.Command = os.Environ(), flags.Args()[2:]
		if asked.Command[0], err = exec.LookPath(asked.Command[0]); err != nil {
			return err
		}
		if asked.Command[0], err = filepath.Abs(asked.Command[0]); err != nil {
			return err
		}
	}
	connection, err := net.Dial("unix", socketIn(*dir))
	if err != nil {
		return fmt.Errorf("%w in %s: %w", errNoRun, *dir, err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(answerDeadline)); err != nil {
		return err
	}
	if err := json.NewEncoder(connection).Encode(asked); err != nil {
		return err
	}
	var got answer
	if err := json.NewDecoder(connection).Decode(&got); err != nil {
		return fmt.Errorf("the cluster in %s ended instead of answering: %w", *dir, err)
	}
	if got.Error != "" {
		return errors.New(got.Error)
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

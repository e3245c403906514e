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
	"path/filepath"
	"time"
)

// answerDeadline is longer than the longest start.
const answerDeadline = 4 * time.Minute

// request is what ctl asks of a running supervisor: processes must be started by
// it, since they end with whoever started them.
type request struct{ Verb, Name, Mode string }

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
	if json.NewDecoder(io.LimitReader(connection, 4096)).Decode(&asked) != nil {
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
	default:
		return 0, fmt.Errorf("no such verb %q; there are start, stop and restart", asked.Verb)
	}
}

// control is the command ctl.
func control(arguments []string) error {
	flags := flag.NewFlagSet("cluster ctl", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("dir", "", "the running cluster's `folder`")
	mode := flags.String("mode", "fast", "how to stop PostgreSQL: smart, fast, immediate, or kill (SIGKILL)")
	if err := parseFlags(flags, arguments); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() != 2 {
		return misuse{errors.New("want cluster ctl --dir DIR [--mode MODE] start|stop|restart NAME")}
	}
	connection, err := net.Dial("unix", socketIn(*dir))
	if err != nil {
		return fmt.Errorf("%w in %s: %w", errNoRun, *dir, err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(answerDeadline)); err != nil {
		return err
	}
	if err := json.NewEncoder(connection).Encode(request{flags.Arg(0), flags.Arg(1), *mode}); err != nil {
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

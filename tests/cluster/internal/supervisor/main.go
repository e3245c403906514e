// Package supervisor starts a cluster, describes it in one line of JSON, and
// ends it: when told to, when its starter is gone, and when it is killed itself.
package supervisor

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"dunlin.dev/cluster/internal/postgres"
)

const usage = `cluster runs a real etcd, kube-apiserver and PostgreSQL for tests and demos.

  cluster up [flags]         start them all, print one line of JSON, stay
  cluster postgres [flags]   the same without Kubernetes
  cluster ctl --dir DIR start|stop|restart [--mode MODE] NAME
                             end or start one of a running cluster's processes:
                             etcd, kube-apiserver, postgres
  cluster ctl --dir DIR run NAME COMMAND...
                             start a program that ends with the cluster; its log
                             is DIR/NAME.log
  cluster sql [--url-env NAME] QUERY
                             send a query to the database whose URL is in that
                             environment variable, or that PGHOST and its like
                             name, and print the rows; "-" reads the query from
                             standard input
  cluster etcd|kube-apiserver|kubectl ...
                             the program itself; so does a link of that name

"cluster up -h" lists the flags.
`

// Main runs one of the commands and returns the exit code: 2 for a mistake in
// the call, 1 for everything else that fails.
func Main(arguments []string) int {
	if len(arguments) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	commands := map[string]func([]string) error{
		"up":       up,
		"postgres": func(arguments []string) error { return up(append([]string{"--without-kubernetes"}, arguments...)) },
		"ctl":      control,
		"sql":      query,
		"tether":   tether,
	}
	command, ok := commands[arguments[0]]
	switch {
	case arguments[0] == "help" || arguments[0] == "-h" || arguments[0] == "--help":
		fmt.Print(usage)
		return 0
	case !ok:
		fmt.Fprintf(os.Stderr, "cluster: no such command: %s\n\n%s", arguments[0], usage)
		return 2
	}
	err := command(arguments[1:])
	var misuse misuse
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
}

// misuse is a mistake in the call.
type misuse struct{ error }

// options are what up was asked for.
type options struct {
	dir                               string
	withoutKubernetes                 bool
	withoutPostgres, untilStdinCloses bool
	audit                             bool
	postgres                          postgres.Options
}

func parse(arguments []string) (options, error) {
	parsed := options{postgres: postgres.Options{Files: map[string]string{}}}
	flags := flag.NewFlagSet("cluster up", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&parsed.dir, "dir", "", "the run's own `folder`, made and removed by it (default: a new one under the temp folder)")
	flags.BoolVar(&parsed.withoutKubernetes, "without-kubernetes", false, "start no etcd and no kube-apiserver")
	flags.BoolVar(&parsed.withoutPostgres, "without-postgres", false, "start no PostgreSQL")
	flags.BoolVar(&parsed.audit, "audit", false, "have kube-apiserver write down every request that it has answered, in the file audit of the description")
	flags.BoolVar(&parsed.untilStdinCloses, "until-stdin-closes", false, "end when standard input does, which it does with the process that holds it")
	flags.Func("version", "PostgreSQL's major `version` (default: the newest on this machine)", func(text string) error {
		major, err := strconv.Atoi(text)
		parsed.postgres.Version = major
		return err
	})
	flags.Func("conf", "a `key=value` of postgresql.conf; repeatable", func(text string) error {
		parsed.postgres.Conf = append(parsed.postgres.Conf, text)
		return nil
	})
	flags.Func("hba", "a `line` of pg_hba.conf, before the default ones; repeatable", func(text string) error {
		parsed.postgres.HBA = append(parsed.postgres.HBA, text)
		return nil
	})
	flags.Func("file", "`NAME=PATH`, a file to copy into PostgreSQL's data folder; repeatable", func(text string) error {
		name, path, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("want NAME=PATH")
		}
		parsed.postgres.Files[name] = path
		return nil
	})
	if err := parseFlags(flags, arguments); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, misuse{fmt.Errorf("unexpected argument %q; see cluster up -h", flags.Arg(0))}
	}
	return parsed, nil
}

// parseFlags prints the help where it was asked for, and no usage with an error.
func parseFlags(flags *flag.FlagSet, arguments []string) error {
	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stdout)
		flags.Usage()
		return err
	}
	if err != nil {
		return misuse{fmt.Errorf("%w; see %s -h", err, flags.Name())}
	}
	return nil
}

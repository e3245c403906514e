package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"dunlin.dev/cluster/internal/folder"
	"dunlin.dev/cluster/internal/kubernetes"
	"dunlin.dev/cluster/internal/postgres"
)

// Description is the line that up prints. It is a format: tests in other
// languages read it.
type Description struct {
	Dir string `json:"dir"`
	// Env is a file that a shell sources to find everything.
	Env        string `json:"env"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Server     string `json:"server,omitempty"`
	Bin        string `json:"bin,omitempty"`
	// Audit is the file of answered requests, where one was asked for.
	Audit    string               `json:"audit,omitempty"`
	Postgres *PostgresDescription `json:"postgres,omitempty"`
	Pids     map[string]int       `json:"pids"`
}

// PostgresDescription is the part about PostgreSQL.
type PostgresDescription struct {
	URL      string `json:"url"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
	Version  int    `json:"version"`
	BinDir   string `json:"bin_dir"`
	DataDir  string `json:"data_dir"`
	Log      string `json:"log"`
	// RunAsUID is the user that the server's processes and files belong to.
	RunAsUID int `json:"run_as_uid"`
}

// run is one cluster, from up to its end.
type run struct {
	folder     *folder.Folder
	tether     int
	kubernetes *kubernetes.Cluster
	postgres   *postgres.Server
	components *components
}

func up(arguments []string) (err error) {
	options, err := parse(arguments)
	if err != nil {
		return err
	}
	// From here on a signal is a reason to end in order, also while starting.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if options.untilStdinCloses {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			defer cancel()
			_, _ = io.Copy(io.Discard, os.Stdin)
		}()
	}
	home, err := folder.Create(options.dir)
	if err != nil {
		return err
	}
	tether, release, err := hold(home)
	if err != nil {
		return errors.Join(err, home.Remove())
	}
	current := &run{folder: home, tether: tether, components: newComponents()}
	defer func() {
		current.components.stopAll()
		err = errors.Join(err, home.Remove())
		release()
	}()
	if err := current.start(ctx, options); err != nil {
		if ctx.Err() != nil {
			return errors.New("ended before everything was up, as asked")
		}
		return err
	}
	listener, err := current.listen(ctx)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := current.announce(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// start starts PostgreSQL and Kubernetes side by side.
func (r *run) start(ctx context.Context, options options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error)
	parts := 0
	begin := func(part func() error) {
		parts++
		go func() { results <- part() }()
	}
	if !options.withoutPostgres {
		begin(func() error { return r.startPostgres(ctx, options.postgres) })
	}
	if !options.withoutKubernetes {
		begin(func() error { return r.startKubernetes(ctx, options.audit) })
	}
	var first error
	for range parts {
		if err := <-results; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func (r *run) startPostgres(ctx context.Context, options postgres.Options) error {
	defer sayWhenSlow("PostgreSQL", r.folder.Join("postgres", "log"))()
	server, err := postgres.Create(ctx, r.folder, options)
	if err != nil {
		return err
	}
	r.postgres = server
	return r.components.add(ctx, "postgres", server.Start, postgres.Stop)
}

func (r *run) startKubernetes(ctx context.Context, audit bool) error {
	cluster, err := kubernetes.Create(r.folder, audit)
	if err != nil {
		return err
	}
	r.kubernetes = cluster
	slow := sayWhenSlow("etcd", r.folder.Join("kubernetes", "etcd.log"))
	err = r.components.add(ctx, "etcd", cluster.StartEtcd, kubernetes.Stop)
	slow()
	if err != nil {
		return err
	}
	defer sayWhenSlow("kube-apiserver", r.folder.Join("kubernetes", "kube-apiserver.log"))()
	return r.components.add(ctx, "kube-apiserver", cluster.StartAPIServer, kubernetes.Stop)
}

func (r *run) describe() Description {
	description := Description{Dir: r.folder.Path, Env: r.folder.Join("env"), Pids: r.components.pids()}
	description.Pids["supervisor"], description.Pids["tether"] = os.Getpid(), r.tether
	if r.kubernetes != nil {
		description.Kubeconfig, description.Server, description.Bin = r.kubernetes.Kubeconfig, r.kubernetes.Server, r.kubernetes.Bin
		description.Audit = r.kubernetes.Audit
	}
	if server := r.postgres; server != nil {
		uid := os.Getuid()
		if server.User != nil {
			uid = server.User.UID
		}
		description.Postgres = &PostgresDescription{
			URL: server.URL(), Host: "127.0.0.1", Port: server.Port, User: "postgres", Password: server.Password,
			Version: server.Binaries.Major, BinDir: server.Binaries.Dir, DataDir: server.DataDir, Log: server.Log, RunAsUID: uid,
		}
	}
	return description
}

// announce prints the description, when everything in it can be relied on.
func (r *run) announce() error {
	description := r.describe()
	if err := os.WriteFile(description.Env, []byte(r.environment(description)), 0o600); err != nil {
		return err
	}
	line, err := json.Marshal(description)
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.folder.Join("cluster.json"), line, 0o600); err != nil {
		return err
	}
	_, err = fmt.Println(string(line))
	return err
}

// environment is a file for a shell to source. Its values are paths, numbers and
// hexadecimal digits, but a path may hold anything.
func (r *run) environment(description Description) string {
	text := ""
	export := func(name, value string) { text += fmt.Sprintf("export %s=%s\n", name, quoted(value)) }
	path := ""
	if description.Bin != "" {
		export("KUBECONFIG", description.Kubeconfig)
		path += quoted(description.Bin) + ":"
	}
	if server := description.Postgres; server != nil {
		export("PGHOST", server.Host)
		export("PGPORT", fmt.Sprint(server.Port))
		export("PGUSER", server.User)
		export("PGPASSWORD", server.Password)
		export("PGDATABASE", "postgres")
		if clients, err := r.postgres.ClientDir(); err == nil {
			path += quoted(clients) + ":"
		}
	}
	return text + "export PATH=" + path + "\"$PATH\"\n"
}

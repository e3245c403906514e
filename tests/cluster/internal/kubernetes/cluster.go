package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dunlin.dev/cluster/internal/folder"
	"dunlin.dev/cluster/internal/process"
)

const (
	etcdDeadline = 60 * time.Second
	apiDeadline  = 3 * time.Minute
)

// Cluster is a control plane in its folder, running or not.
type Cluster struct {
	Kubeconfig string
	Server     string // the API server's URL
	Bin        string // the folder with etcd, kube-apiserver and kubectl
	Audit      string // the file of answered requests, or nothing

	folder                      *folder.Folder
	etcdPort, peerPort, apiPort int
	client                      *http.Client
}

// auditPolicy has each answer written down once, with who asked and for what.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// Create writes certificates and kubeconfig of a cluster that isn't started yet.
// Its programs are links to ourselves, or to those in KUBEBUILDER_ASSETS.
func Create(home *folder.Folder, audit bool) (*Cluster, error) {
	c := &Cluster{folder: home, Kubeconfig: home.Join("kubeconfig"), Bin: home.Join("bin")}
	if err := os.MkdirAll(home.Join("kubernetes"), 0o700); err != nil {
		return nil, err
	}
	if audit {
		c.Audit = home.Join("kubernetes", "audit.log")
		if err := os.WriteFile(home.Join("kubernetes", "audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
			return nil, err
		}
	}
	if err := c.link(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cluster) link() error {
	if err := os.MkdirAll(c.Bin, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		target := self
		if assets != "" {
			if target, err = filepath.Abs(filepath.Join(assets, name)); err != nil {
				return err
			}
			if _, err := os.Stat(target); err != nil {
				return fmt.Errorf("KUBEBUILDER_ASSETS is set, but there is no %s in it: %w; unset it to use the one that comes with Dunlin", name, err)
			}
		}
		if err := os.Symlink(target, filepath.Join(c.Bin, name)); err != nil {
			return err
		}
	}
	return nil
}

// prepare picks the API server's port and issues what depends on it.
func (c *Cluster) prepare() error {
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	c.apiPort, c.Server = port, fmt.Sprintf("https://127.0.0.1:%d", port)
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	server, err := ca.server("kube-apiserver", []string{"localhost", "kubernetes.default.svc"},
		[]net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)})
	if err != nil {
		return err
	}
	admin, err := ca.client("admin", "system:masters")
	if err != nil {
		return err
	}
	signing, err := newSigningKey()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"kubernetes/ca.crt": ca.PEM, "kubernetes/apiserver.crt": server.Certificate, "kubernetes/apiserver.key": server.Key,
		"kubernetes/service-account.key": signing, "kubeconfig": []byte(kubeconfig(c.Server, ca.PEM, admin)),
	} {
		if err := os.WriteFile(c.folder.Join(name), content, 0o600); err != nil {
			return err
		}
	}
	return c.connect(ca, admin)
}

func (c *Cluster) connect(ca *authority, admin pair) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	certificate, err := tls.X509KeyPair(admin.Certificate, admin.Key)
	if err != nil {
		return err
	}
	c.client = &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	}
	return nil
}

func kubeconfig(server string, ca []byte, admin pair) string {
	encoded := base64.StdEncoding.EncodeToString
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: dunlin-cluster
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: dunlin-cluster
  context: {cluster: dunlin-cluster, user: admin}
current-context: dunlin-cluster
`, server, encoded(ca), encoded(admin.Certificate), encoded(admin.Key))
}

// errEarly marks a start that failed because the process ended.
var errEarly = errors.New("ended before it was ready")

// StartEtcd starts etcd and returns when it answers. The first start picks its
// ports, and others if somebody was faster; later starts keep them.
func (c *Cluster) StartEtcd(ctx context.Context) (*process.Child, error) {
	isFirst := c.etcdPort == 0
	return c.start(ctx, "etcd", etcdDeadline, isFirst, func() ([]string, func() bool, error) {
		if isFirst {
			var failures [2]error
			c.etcdPort, failures[0] = process.FreePort()
			c.peerPort, failures[1] = process.FreePort()
			if err := errors.Join(failures[:]...); err != nil {
				return nil, nil, err
			}
		}
		client := fmt.Sprintf("http://127.0.0.1:%d", c.etcdPort)
		peer := fmt.Sprintf("http://127.0.0.1:%d", c.peerPort)
		arguments := []string{
			"--name=dunlin", "--data-dir=" + c.folder.Join("kubernetes", "etcd"),
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=dunlin=" + peer,
			// These data end with the run.
			"--unsafe-no-fsync",
			"--log-level=warn",
		}
		plain := &http.Client{Timeout: 2 * time.Second}
		return arguments, func() bool { return answers(plain, client+"/health") }, nil
	})
}

// StartAPIServer starts kube-apiserver and returns when it is ready and its own
// namespaces are there.
func (c *Cluster) StartAPIServer(ctx context.Context) (*process.Child, error) {
	isFirst := c.apiPort == 0
	return c.start(ctx, "kube-apiserver", apiDeadline, isFirst, func() ([]string, func() bool, error) {
		if isFirst {
			if err := c.prepare(); err != nil {
				return nil, nil, err
			}
		}
		in := func(name string) string { return c.folder.Join("kubernetes", name) }
		arguments := []string{
			fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", c.etcdPort),
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.apiPort),
			// No Service leads to this server, and a loopback address can't be an endpoint.
			"--endpoint-reconciler-type=none", "--advertise-address=127.0.0.1",
			"--service-cluster-ip-range=10.0.0.0/24",
			"--tls-cert-file=" + in("apiserver.crt"), "--tls-private-key-file=" + in("apiserver.key"),
			"--client-ca-file=" + in("ca.crt"), "--cert-dir=" + in("generated"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + in("service-account.key"),
			"--service-account-signing-key-file=" + in("service-account.key"),
			"--authorization-mode=RBAC",
			// It waits for the account that a controller makes in every namespace, and
			// no controller runs here.
			"--disable-admission-plugins=ServiceAccount",
			"--profiling=false",
		}
		if c.Audit != "" {
			arguments = append(arguments, "--audit-policy-file="+in("audit-policy.yaml"), "--audit-log-path="+c.Audit)
		}
		return arguments, func() bool {
			return answers(c.client, c.Server+"/readyz") && answers(c.client, c.Server+"/api/v1/namespaces/default")
		}, nil
	})
}

// start starts a program and polls until it is ready, again with another port
// when the one it was given has been taken meanwhile.
func (c *Cluster) start(ctx context.Context, name string, limit time.Duration, isFirst bool,
	plan func() ([]string, func() bool, error)) (*process.Child, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	log := c.folder.Join("kubernetes", name+".log")
	for {
		arguments, ready, err := plan()
		if err != nil {
			return nil, err
		}
		child, err := process.Start(process.Spec{
			Name: name,
			Path: filepath.Join(c.Bin, name),
			Args: arguments,
			Env:  []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.folder.Path, "TMPDIR=" + os.TempDir()},
			Dir:  c.folder.Join("kubernetes"),
			Log:  log,
			// Nothing of theirs outlives the run, so they need no time to end well.
			Orphaned: syscall.SIGKILL,
		})
		if err != nil {
			return nil, err
		}
		if err := c.folder.Register(child, syscall.SIGKILL); err != nil {
			return nil, err
		}
		err = await(ctx, child, ready)
		if err == nil {
			return child, nil
		}
		text, _ := os.ReadFile(log)
		if isFirst && errors.Is(err, errEarly) && strings.Contains(string(text), "address already in use") {
			// etcd keeps its ports in its data.
			if err := errors.Join(os.Remove(log), os.RemoveAll(c.folder.Join("kubernetes", "etcd"))); err != nil {
				return nil, err
			}
			continue
		}
		return nil, fmt.Errorf("%s: %w; the end of its log (%s):\n%s", name, err, log, process.Tail(log, 20))
	}
}

func await(ctx context.Context, child *process.Child, ready func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-child.Done():
			return fmt.Errorf("%w (%v)", errEarly, child.Err())
		case <-ctx.Done():
			child.Stop(syscall.SIGKILL, 0)
			return fmt.Errorf("not ready: %w", context.Cause(ctx))
		case <-tick.C:
			if ready() {
				return nil
			}
		}
	}
}

func answers(client *http.Client, url string) bool {
	response, err := client.Get(url)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Stop ends one of the two by SIGKILL, whatever the mode: with etcd's data ends
// everything that an orderly end would be for.
func Stop(child *process.Child, _ string) error {
	child.Stop(syscall.SIGKILL, 0)
	return nil
}

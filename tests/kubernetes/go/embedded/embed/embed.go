// Package embed stands where Kubernetes' own tests expect the package of that name of etcd's server:
// the same names, as far as those tests use them, but a process of its own behind them, which is the
// program that the environment variable KUBERNETES_ETCD names ("etcd" if it names none). The tests so
// run unchanged against any server that takes etcd's flags.
package embed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"
)

// A server says so in its log when clients can come.
const ready = "ready to serve client requests"

// Config has the options that Kubernetes' tests set. The zero values of the last two are the server's.
type Config struct {
	Name, Dir, InitialCluster             string
	ListenPeerUrls, AdvertisePeerUrls     []url.URL
	ListenClientUrls, AdvertiseClientUrls []url.URL
	ClientTLSInfo                         transport.TLSInfo
	ZapLoggerBuilder                      func(*Config) error // the log of a process goes to a file
	UnsafeNoFsync                         bool
	WatchProgressNotifyInterval           time.Duration
	QuotaBackendBytes                     int64
}

// NewConfig answers a configuration without addresses.
func NewConfig() *Config { return &Config{Name: "default"} }

// InitialClusterFromName answers what --initial-cluster is for a cluster of this member alone.
func (c *Config) InitialClusterFromName(name string) string {
	members := make([]string, 0, len(c.AdvertisePeerUrls))
	for _, peer := range c.AdvertisePeerUrls {
		members = append(members, name+"="+peer.String())
	}
	return strings.Join(members, ",")
}

// NewZapLoggerBuilder exists because the tests call it; see Config.ZapLoggerBuilder.
func NewZapLoggerBuilder(*zap.Logger) func(*Config) error {
	return func(*Config) error { return nil }
}

func joined(urls []url.URL) string {
	texts := make([]string, 0, len(urls))
	for _, each := range urls {
		texts = append(texts, each.String())
	}
	return strings.Join(texts, ",")
}

func (c *Config) flags() []string {
	flags := []string{
		"--name=" + c.Name,
		"--data-dir=" + filepath.Join(c.Dir, "data"),
		"--listen-peer-urls=" + joined(c.ListenPeerUrls),
		"--initial-advertise-peer-urls=" + joined(c.AdvertisePeerUrls),
		"--listen-client-urls=" + joined(c.ListenClientUrls),
		"--advertise-client-urls=" + joined(c.AdvertiseClientUrls),
		"--initial-cluster=" + c.InitialCluster,
		fmt.Sprintf("--unsafe-no-fsync=%v", c.UnsafeNoFsync),
	}
	tls := map[string]string{
		"--cert-file=":       c.ClientTLSInfo.CertFile,
		"--key-file=":        c.ClientTLSInfo.KeyFile,
		"--trusted-ca-file=": c.ClientTLSInfo.TrustedCAFile,
	}
	for flag, file := range tls {
		if file != "" {
			flags = append(flags, flag+file)
		}
	}
	if c.WatchProgressNotifyInterval != 0 {
		flags = append(flags, "--watch-progress-notify-interval="+c.WatchProgressNotifyInterval.String())
	}
	if c.QuotaBackendBytes != 0 {
		flags = append(flags, fmt.Sprintf("--quota-backend-bytes=%d", c.QuotaBackendBytes))
	}
	return flags
}

// Etcd is a running process.
type Etcd struct {
	Server  *Server
	process *exec.Cmd
	ended   chan struct{}
	err     chan error
}

// Server answers what the tests ask of a server.
type Server struct {
	etcd    *Etcd
	ready   chan struct{}
	clients []string
}

// Cluster answers where clients go.
type Cluster struct{ clients []string }

// ReadyNotify is closed when the process serves clients.
func (s *Server) ReadyNotify() <-chan struct{} { return s.ready }

// Stop ends the process.
func (s *Server) Stop() { s.etcd.Close() }

// Cluster answers the cluster of this one member.
func (s *Server) Cluster() *Cluster { return &Cluster{s.clients} }

// ClientURLs answers the advertised URLs.
func (c *Cluster) ClientURLs() []string { return c.clients }

// Err brings the reason why the process ended, if it was not asked to.
func (e *Etcd) Err() <-chan error { return e.err }

// Close asks the process to end and waits until it did.
func (e *Etcd) Close() {
	select {
	case <-e.ended:
		return
	default:
	}
	_ = e.process.Process.Signal(syscall.SIGTERM)
	<-e.ended
}

// StartEtcd starts the process. Its log goes to server.log in the folder of the configuration.
func StartEtcd(c *Config) (*Etcd, error) {
	program := os.Getenv("KUBERNETES_ETCD")
	if program == "" {
		program = "etcd"
	}
	process := exec.Command(program, c.flags()...)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := process.StderrPipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(c.Dir, "server.log"))
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	etcd := &Etcd{process: process, ended: make(chan struct{}), err: make(chan error, 1)}
	etcd.Server = &Server{etcd: etcd, ready: make(chan struct{})}
	for _, each := range c.AdvertiseClientUrls {
		etcd.Server.clients = append(etcd.Server.clients, each.String())
	}
	go etcd.follow(output, log)
	return etcd, nil
}

func (e *Etcd) follow(output io.Reader, log *os.File) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	serves := false
	for lines.Scan() {
		_, _ = log.Write(append(lines.Bytes(), '\n'))
		if !serves && bytes.Contains(lines.Bytes(), []byte(ready)) {
			serves = true
			close(e.Server.ready)
		}
	}
	err := e.process.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGTERM {
			err = nil
		}
	}
	if err != nil {
		e.err <- fmt.Errorf("%s ended: %w; its log is %s", e.process.Path, err, log.Name())
	}
	close(e.err)
	close(e.ended)
	_ = log.Close()
}

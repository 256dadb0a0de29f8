package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// world is what the environment says of the servers and of who the callers are.
type world struct {
	endpoints []string
	mode      string
	certs     string
	answers   *bufio.Reader
}

func newWorld() *world {
	return &world{
		endpoints: strings.Split(os.Getenv("QUORATE_ENDPOINTS"), ","),
		mode:      os.Getenv("QUORATE_MODE"),
		certs:     os.Getenv("QUORATE_CERTS"),
		answers:   bufio.NewReader(os.Stdin),
	}
}

// at is the same world with one member only.
func (w *world) at(endpoint string) *world {
	one := *w
	one.endpoints = []string{endpoint}
	return &one
}

// users says whether auth is on.
func (w *world) users() bool { return w.mode == "auth" || w.mode == "cn" }

func (w *world) client(user string) (*clientv3.Client, error) {
	return w.clientWith(user, user+"pw")
}

func (w *world) clientWith(user, password string) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints:   w.endpoints,
		DialTimeout: time.Minute,
		Logger:      zap.NewNop(), // it warns of every error, and most here are wanted
	}
	if w.mode != "plain" {
		tls, err := w.tls(user)
		if err != nil {
			return nil, err
		}
		config.TLS = tls
	}
	if w.mode == "auth" {
		config.Username, config.Password = user, password
	}
	return clientv3.New(config)
}

func (w *world) tls(user string) (*tls.Config, error) {
	ca, err := os.ReadFile(filepath.Join(w.certs, "ca.pem"))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	if w.mode != "auth" {
		base := filepath.Join(w.certs, user)
		pair, err := tls.LoadX509KeyPair(base+".pem", base+".key")
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// please asks who started this program, and returns when it is done.
func (w *world) please(what ...string) error {
	fmt.Println("please:", strings.Join(what, " "))
	answer, err := w.answers.ReadString('\n')
	if err == nil && answer != "done\n" {
		err = fmt.Errorf("asked for %v, heard %q", what, answer)
	}
	return err
}

package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHAddress is where root logs in, with the key in SSHKey.
func (n *Node) SSHAddress() string { return fmt.Sprintf("127.0.0.1:%d", n.sshPort) }

// SSHKey is the path of the private key.
func (n *Node) SSHKey() string { return n.dir + "/id_ed25519" }

// writeKey makes the key pair that root of the machine accepts.
func (n *Node) writeKey() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	return signer, errors.Join(
		os.WriteFile(n.SSHKey(), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(n.job()+"/authorized_keys", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600))
}

func dial(ctx context.Context, address string, signer ssh.Signer) (*ssh.Client, error) {
	config := &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // our own machine, on loopback
	}
	dialer := net.Dialer{Timeout: time.Minute}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log in: %w", err), conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// Run runs a shell command in the machine as root and returns its standard
// output; the error carries its standard error.
func (n *Node) Run(ctx context.Context, command string) (string, error) {
	session, err := n.ssh.NewSession()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", command, err)
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { _ = session.Close() })()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	if err := session.Run(command); err != nil {
		return stdout.String(), fmt.Errorf("run %s: %w: %s", command, errors.Join(ctx.Err(), err), bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

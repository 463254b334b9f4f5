// Command controlplane runs in the guest: the control plane of a node there.
// Its arguments are the node's address, the directory of the programs, and the
// directory where it leaves the kubeconfig files, once all of it serves, as
// admin, scheduler, proxy and kubelet. It runs until it is told to end.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"claimdir/hack/controlplane"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, bin, kubeconfigs string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	users := map[string]controlplane.User{
		"scheduler": {Name: "system:kube-scheduler"},
		"proxy":     {Name: "system:kube-proxy"},
		"kubelet":   {Name: "system:node:node", Groups: []string{"system:nodes"}},
	}
	options := controlplane.Options{
		Address: address,
		KeepDir: true, // with its logs
		Binaries: controlplane.Binaries{
			Etcd:                  filepath.Join(bin, "etcd"),
			KubeAPIServer:         filepath.Join(bin, "kube-apiserver"),
			KubeControllerManager: filepath.Join(bin, "kube-controller-manager"),
			Kubectl:               filepath.Join(bin, "kubectl"),
		},
		APIServerArgs: []string{
			"--enable-admission-plugins=NodeRestriction", // besides the default ones, Pod Security among them
			"--kubelet-preferred-address-types=InternalIP",
		},
		// Under emulation a busy node is late with its status.
		ControllerManagerArgs: []string{"--node-monitor-grace-period=5m"},
	}
	for _, user := range users {
		options.Users = append(options.Users, user)
	}
	cp, err := controlplane.Start(ctx, options)
	if err != nil {
		return err
	}
	files := map[string]string{"admin": cp.Kubeconfig()}
	for name, user := range users {
		files[name] = cp.KubeconfigOf(user.Name)
	}
	for name, path := range files {
		if err := os.Symlink(path, filepath.Join(kubeconfigs, name)); err != nil {
			return err
		}
	}
	if err := os.Symlink(cp.Dir(), filepath.Join(kubeconfigs, "ready")); err != nil {
		return err
	}
	<-ctx.Done()
	return cp.Stop()
}

package main

import (
	"context"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// expiry is how long the archives of the class expire-path are kept.
const expiry = "15s"

// Annotations and labels of claims.
const (
	annRestore = "claimdir/restore"
	annDir     = "chaos/dir"   // that the claim adopts
	labelSpot  = "chaos-spot"  // the path of a contended claim
	labelStory = "chaos-story" // one claim's own
)

// classes are the parameters of all classes.
func classes() map[string]map[string]string {
	const byName, adopted = "${.PVC.namespace}/${.PVC.name}", "adopt/${.PVC.annotations.chaos/dir}"
	return map[string]map[string]string{
		"delete":        {"onDelete": "delete"},
		"archive":       {"onDelete": "archive"},
		"retain":        {"onDelete": "retain"},
		"delete-path":   {"onDelete": "delete", "pathPattern": byName},
		"archive-path":  {"onDelete": "archive", "pathPattern": byName},
		"expire-slow":   {"onDelete": "archive", "archiveRetention": "10m"}, // the sabotages' scenario ends before
		"expire-path":   {"onDelete": "archive", "pathPattern": byName, "archiveRetention": expiry},
		"retain-path":   {"onDelete": "retain", "pathPattern": byName},
		"contended":     {"onDelete": "delete", "pathPattern": "common/${.PVC.labels." + labelSpot + "}"},
		"adopt-delete":  {"onDelete": "delete", "pathPattern": adopted, "onExisting": "adopt"},
		"adopt-archive": {"onDelete": "archive", "pathPattern": adopted, "onExisting": "adopt"},
		"adopt-retain":  {"onDelete": "retain", "pathPattern": adopted, "onExisting": "adopt"},
	}
}

func (w *world) makeClasses(ctx context.Context) error {
	for name, parameters := range classes() {
		class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: w.class(name)}, Provisioner: w.provisioner, Parameters: parameters}
		if _, err := w.bed.Admin.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// class is the name of a class in this world.
func (w *world) class(name string) string { return w.name + "-" + name }

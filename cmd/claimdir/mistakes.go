package main

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	storagelisters "k8s.io/client-go/listers/storage/v1"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/doctor"
)

// classMistakes is the metric of how many mistakes each StorageClass of ours has, as doctor finds them. It is
// found when it is asked for: a cluster has few classes.
type classMistakes struct {
	desc    *prometheus.Desc
	classes storagelisters.StorageClassLister
	names   pvs.Names // that are served
	shares  []string  // names
}

// mistakesOf makes the metric for the classes that the parts serve.
func mistakesOf(p parts) classMistakes {
	m := classMistakes{
		desc: prometheus.NewDesc("claimdir_class_mistakes", "Mistakes in the StorageClass, for which its claims are refused; claimdir doctor lists them.",
			[]string{"class"}, nil),
		classes: p.informers.Factory().Storage().V1().StorageClasses().Lister(),
		names:   p.informers.Names(),
	}
	for _, k := range p.keepers {
		m.shares = append(m.shares, k.Name())
	}
	return m
}

// Describe implements prometheus.Collector.
func (m classMistakes) Describe(to chan<- *prometheus.Desc) { to <- m.desc }

// Collect implements prometheus.Collector.
func (m classMistakes) Collect(to chan<- prometheus.Metric) {
	all, err := m.classes.List(labels.Everything())
	if err != nil {
		return // cannot happen: a cache is listed
	}
	for _, sc := range all {
		if slices.Contains(m.names, sc.Provisioner) {
			to <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(len(each(doctor.Mistakes(sc, m.shares)))), sc.Name)
		}
	}
}

// each returns the errors that are joined in one, one by one.
func each(err error) (all []error) {
	if err == nil {
		return nil
	}
	if joined, is := err.(interface{ Unwrap() []error }); is {
		for _, one := range joined.Unwrap() {
			all = append(all, each(one)...)
		}
		return all
	}
	return []error{err}
}
